"""The one timer of an exchange, moved from phase to phase as the exchange moves on."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from backends.contract import Pairs
from backends.errors import (
    BackendError,
    Phase,
    RunnerOverloaded,
    RunnerProtocolError,
    RunnerTimeout,
    RunnerUnreachable,
)
from backends.upstream.transport import Budget

T = TypeVar("T")


class Countdown:
    """Bounds each wait of one exchange, and says which limit ran out.

    Attributes:
        phase: where the exchange is now.
        sent: some of the request may have left this process.
        aborted: the pool was closed under the exchange.
    """

    def __init__(self, budget: Budget) -> None:
        self.phase = Phase.ADMIT
        self.sent = False
        self.aborted = False
        self._budget = budget
        self._scope: asyncio.Timeout | None = None
        self._limit_s: float | None = None
        self._runs_out_as = Phase.ADMIT

    async def run(self, phase: Phase, wait: Callable[[], Awaitable[T]]) -> T:
        """Await `wait()`, beginning in `phase`; `enter` may move on meanwhile.

        Raises:
            RunnerTimeout: a limit ran out.
            RunnerOverloaded: it ran out before a connection was free.
            BackendError: "backend_closed", after `abort`.
        """
        if self.aborted:
            raise self.closed()
        scope = self._scope = asyncio.timeout(None)
        try:
            async with scope:
                self.enter(phase)
                return await wait()
        except TimeoutError:
            if not scope.expired():
                raise
            raise self._failure() from None
        finally:
            self._scope = None

    def know(self, headers: Pairs) -> None:
        """The head of the answer is here, and may change what its body is allowed."""
        self._budget = self._budget.of_body(headers)

    def enter(self, phase: Phase) -> None:
        """The wait has come to `phase`: its limit starts now."""
        self.phase = self._runs_out_as = phase
        budget = self._budget
        self._limit_s = limit_s = {
            Phase.FIRST_BYTE: budget.first_byte_s,
            Phase.IDLE: budget.idle_s,
        }.get(phase, budget.connect_s)
        ends = [budget.body_by] if phase is Phase.IDLE else [budget.body_by, budget.head_by]
        now = time.monotonic()
        for end in ends:
            if end is not None and (limit_s is None or end - now < limit_s):
                limit_s = max(end - now, 0.0)
                self._runs_out_as, self._limit_s = Phase.TOTAL, None
        if self._scope is not None:
            loop_time = asyncio.get_running_loop().time()
            self._scope.reschedule(None if limit_s is None else loop_time + limit_s)

    def abort(self) -> None:
        """End the current wait, and refuse every later one."""
        self.aborted = True
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())

    def closed(self) -> BackendError:
        """The failure of an exchange whose pool was closed under it."""
        if self.sent:
            return RunnerProtocolError("backend_closed", phase=self.phase)
        return RunnerUnreachable("backend_closed", phase=Phase.ADMIT)

    def _failure(self) -> BackendError:
        if self.aborted:
            return self.closed()
        if self.phase is Phase.ADMIT:
            return RunnerOverloaded("pool_exhausted")
        return RunnerTimeout(phase=self._runs_out_as, budget_s=self._limit_s)
