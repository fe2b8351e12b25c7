"""The deadlines of an exchange that has no connection yet."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from backends.errors import Phase, RunnerOverloaded, RunnerTimeout, RunnerUnreachable
from backends.upstream.transport import Budget

T = TypeVar("T")


class ConnectDeadline:
    """Bounds standing in line and dialling, each of them by the connect limit.

    What the budget has for the whole exchange bounds both of them together.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._scope: asyncio.Timeout | None = None
        self._aborted = False

    async def run(self, phase: Phase, wait: Callable[[], Awaitable[T]]) -> T:
        """Await `wait()`: in line (Phase.ADMIT), or dialling (Phase.CONNECT).

        Raises:
            RunnerTimeout: dialling took too long; `phase` says by which limit.
            RunnerOverloaded: nothing came free in time.
            RunnerUnreachable: "backend_closed", after `abort`.
        """
        if self._aborted:
            raise self._closed()
        limit_s = self._budget.connect_s
        left_s, runs_out_as = limit_s, phase
        now = time.monotonic()
        for end in (self._budget.body_by, self._budget.head_by):
            if end is not None and (left_s is None or end - now < left_s):
                left_s = max(end - now, 0.0)
                limit_s, runs_out_as = None, Phase.TOTAL
        scope = self._scope = asyncio.timeout(left_s)
        try:
            async with scope:
                return await wait()
        except TimeoutError:
            if not scope.expired():
                raise
            if self._aborted:
                raise self._closed() from None
            if phase is Phase.ADMIT:
                raise RunnerOverloaded("pool_exhausted") from None
            raise RunnerTimeout(phase=runs_out_as, budget_s=limit_s) from None
        finally:
            self._scope = None

    def abort(self) -> None:
        """End the current wait, and refuse every later one."""
        self._aborted = True
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())

    def _closed(self) -> RunnerUnreachable:
        return RunnerUnreachable("backend_closed", phase=Phase.ADMIT)
