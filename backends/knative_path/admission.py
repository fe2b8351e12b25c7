"""Bounds handler calls: so many at once for each extension, a bounded queue behind, room for pages.

One extension that is called a lot must neither fill the runner's queue nor hold every
connection: the others' calls, and UI files above all, have to get through beside it.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from backends.errors import RunnerOverloaded

HANDLERS: Final = 192
"""Handler calls at once. A pool has 256 connections: the rest are for UI files and probes."""

LINE_PER_EXTENSION: Final = 64
LINE: Final = 512
PATIENCE_S: Final = 10.0


class _Lane:
    """The calls of one extension."""

    def __init__(self) -> None:
        self.running = 0
        self.waiting: deque[asyncio.Future[None]] = deque()


class Admission:
    """Lets handler calls in, fairly: whoever waits is served extension by extension.

    Args:
        per_extension: how many calls of one extension run at once; asked at every call.
    """

    def __init__(
        self,
        *,
        per_extension: Callable[[], int],
        handlers: int = HANDLERS,
        line_per_extension: int = LINE_PER_EXTENSION,
        line: int = LINE,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._per_extension = per_extension
        self._handlers = handlers
        self._line_per_extension = line_per_extension
        self._line = line
        self._patience_s = patience_s
        self._lanes: OrderedDict[str, _Lane] = OrderedDict()
        self.running = 0
        self.waiting = 0

    @asynccontextmanager
    async def turn(self, extension: str, *, timeout_s: float) -> AsyncIterator[None]:
        """Hold a place for one call; wait for it no longer than `timeout_s` or the line's own
        patience.

        Raises:
            RunnerOverloaded: "line_full" or "line_too_slow". Nothing was sent.
        """
        if not self.enter(extension):
            lane = self._lanes.setdefault(extension, _Lane())
            try:
                await self._wait(lane, min(timeout_s, self._patience_s))
            except BaseException:
                self._forget(extension, lane)
                raise
        try:
            yield
        finally:
            self.leave(extension)

    def enter(self, extension: str) -> bool:
        """Take a place for one call if there is one to be had at once; it owes a `leave`."""
        lane = self._lanes.setdefault(extension, _Lane())
        if self.running < self._handlers and self._has_room(lane) and not lane.waiting:
            self._begin(lane)
            return True
        self._forget(extension, lane)
        return False

    def leave(self, extension: str) -> None:
        """Give a place back: to whoever waits for it."""
        lane = self._lanes[extension]
        lane.running -= 1
        self.running -= 1
        self._let_in()
        self._forget(extension, lane)

    async def _wait(self, lane: _Lane, patience_s: float) -> None:
        if self.waiting >= self._line or len(lane.waiting) >= self._line_per_extension:
            raise RunnerOverloaded("line_full")
        turn = asyncio.get_running_loop().create_future()
        lane.waiting.append(turn)
        self.waiting += 1
        try:
            async with asyncio.timeout(patience_s):
                await turn
        except BaseException as ended:
            if turn.done() and not turn.cancelled():  # let in and gone in the same moment
                lane.running -= 1
                self.running -= 1
            else:
                lane.waiting.remove(turn)
                self.waiting -= 1
            self._let_in()
            if isinstance(ended, TimeoutError):
                raise RunnerOverloaded("line_too_slow") from None
            raise

    def _has_room(self, lane: _Lane) -> bool:
        return lane.running < max(1, self._per_extension())

    def _begin(self, lane: _Lane) -> None:
        lane.running += 1
        self.running += 1

    def _let_in(self) -> None:
        """Give free places to those who wait, one to each extension in turn."""
        if not self.waiting:
            return
        for extension, lane in tuple(self._lanes.items()):
            if self.running >= self._handlers:
                return
            # One whose caller has just left is done already, and takes itself out of the line.
            turn = next((each for each in lane.waiting if not each.done()), None)
            if turn is not None and self._has_room(lane):
                self._lanes.move_to_end(extension)
                self._begin(lane)
                lane.waiting.remove(turn)
                self.waiting -= 1
                turn.set_result(None)

    def _forget(self, extension: str, lane: _Lane) -> None:
        if not lane.running and not lane.waiting:
            self._lanes.pop(extension, None)
