"""The line in front of a service that sleeps: a few calls wake it, and the others wait for them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from backends.errors import RunnerOverloaded

COLD_AT_ONCE: Final = 8
"""Calls sent to a service that sleeps; one would do to wake it, more share the activators."""

MOST_WAITING: Final = 512


class ColdLine:
    """Lets COLD_AT_ONCE calls through while the service is cold, and all once it is not."""

    def __init__(self, is_cold: Callable[[], bool]) -> None:
        self._is_cold = is_cold
        self._turn = asyncio.Condition()
        self._through = 0
        self.waiting = 0

    @asynccontextmanager
    async def place(self, ends: float) -> AsyncIterator[None]:
        """Be one of those that are sent, from a turn that comes before `ends` (monotonic).

        Raises:
            RunnerOverloaded: the line is full, or too slow.
        """
        await self._stand_in_line(ends)
        try:
            yield
        finally:
            self._through -= 1
            async with self._turn:
                self._turn.notify_all()

    async def look_again(self) -> None:
        """The service may be cold no longer."""
        if self.waiting:
            async with self._turn:
                self._turn.notify_all()

    async def _stand_in_line(self, ends: float) -> None:
        if self.waiting >= MOST_WAITING:
            raise RunnerOverloaded("cold_start_line_full")
        self.waiting += 1
        try:
            async with asyncio.timeout(max(0.0, ends - time.monotonic())), self._turn:
                await self._turn.wait_for(
                    lambda: self._through < COLD_AT_ONCE or not self._is_cold()
                )
                self._through += 1
        except TimeoutError:
            raise RunnerOverloaded("cold_start_too_slow") from None
        finally:
            self.waiting -= 1
