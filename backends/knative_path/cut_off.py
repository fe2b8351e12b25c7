"""A body that queue-proxy cut short and signed with its own text.

When one of its timers fires while an answer is on its way, queue-proxy writes `request timeout`
behind what it had passed on and ends the answer properly: status 200, correct framing, wrong
content. Only an answer of unknown length can be falsified so, because a longer body than its
Content-Length announces breaks the framing. Such a body is watched: its last bytes are held
back until it ends, and if they are that text the answer fails instead of ending.

A genuine answer of unknown length that ends with exactly these fifteen bytes fails, too: nothing
tells it from a broken one. Runners announce the length of every file, so none is concerned.
"""

from typing import Final, Self

from backends.contract import ByteStream
from backends.errors import Phase, RunnerTimeout

APPENDED: Final = b"request timeout"


class WatchedBody:
    """A ByteStream that ends only when it does not end with queue-proxy's text.

    Raises:
        RunnerTimeout: with phase "body", where the body would have ended.
    """

    def __init__(self, body: ByteStream) -> None:
        self._body = body
        self._parts = body.__aiter__()
        self._held = b""
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._ended:
            try:
                part = self._held + await self._parts.__anext__()
            except StopAsyncIteration:
                return await self._last()
            # A proxy may split the text anywhere, so its whole length is held back.
            self._held = part[-len(APPENDED) :]
            if passed := part[: -len(APPENDED)]:
                return passed
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._ended = True
        await self._body.aclose()

    async def _last(self) -> bytes:
        self._ended = True
        await self._body.aclose()
        if self._held == APPENDED:
            raise RunnerTimeout(phase=Phase.BODY)
        if not self._held:
            raise StopAsyncIteration
        return self._held


_guard: type[ByteStream] = WatchedBody
