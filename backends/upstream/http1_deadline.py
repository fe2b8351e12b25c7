"""The deadline of whatever a connection waits for now, on a timer that is rarely touched.

Almost every wait ends long before its deadline. So a later deadline only writes down an
instant; the timer that is running fires early, sees it, and goes back to sleep.
"""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

from backends.errors import Phase, RunnerTimeout
from backends.upstream.transport import Budget

_EARLY_S: Final = 0.001  # event loops round to milliseconds


class Deadline:
    """One instant after which `on_expiry` is called, unless it was moved or lifted before."""

    def __init__(self, on_expiry: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_expiry = on_expiry
        self._at = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._phase = Phase.FIRST_BYTE
        self._limit_s: float | None = None

    def for_head(self, budget: Budget) -> None:
        """Wait for the whole head of an answer."""
        self._start(Phase.FIRST_BYTE, budget.first_byte_s, budget.head_by, budget.body_by)

    def for_part(self, budget: Budget) -> None:
        """Wait for the next part of a body."""
        self._start(Phase.IDLE, budget.idle_s, None, budget.body_by)

    @property
    def has_passed(self) -> bool:
        """Whether that instant is over, called or not."""
        return time.monotonic() >= self._at

    def lift(self) -> None:
        """Nothing is being waited for."""
        self._at = math.inf

    def cancel(self) -> None:
        """Lift it for good and let go of the timer."""
        self._at = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def failure(self) -> RunnerTimeout:
        """What the wait that ran out is called."""
        return RunnerTimeout(phase=self._phase, budget_s=self._limit_s)

    def _start(
        self, phase: Phase, limit_s: float | None, head_by: float | None, body_by: float | None
    ) -> None:
        now = time.monotonic()
        at = math.inf if limit_s is None else now + limit_s
        if head_by is not None and head_by < at:
            at, phase, limit_s = head_by, Phase.TOTAL, None
        if body_by is not None and body_by < at:
            at, phase, limit_s = body_by, Phase.TOTAL, None
        self._at, self._phase, self._limit_s = at, phase, limit_s
        if at < self._timer_at:
            self._arm(at, now)

    def _arm(self, at: float, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(max(at - now, 0.0), self._fire)
        self._timer_at = at

    def _fire(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        now = time.monotonic()
        if now >= self._at - _EARLY_S:
            self._at = math.inf
            self._on_expiry()
        elif self._at < math.inf:
            self._arm(self._at, now)
