"""A body that is still on its way: what came and was not taken yet, within a bound."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol, Self

from backends.errors import BackendError, Phase, RunnerProtocolError

HIGH_WATER_BYTES: Final = 512 * 1024
"""Above this the connection is not read until the consumer has taken what there is."""


Sink = Callable[[bytes], bool]
"""Takes a part of a body, always; says whether it wants another one soon."""


class Source(Protocol):
    """Where a body comes from. Called only until the body was taken or given up."""

    def pause(self) -> None:
        """Read no more for now."""

    def resume(self) -> None:
        """Read on."""

    def await_part(self) -> None:
        """Somebody waits for more: their limits start now."""

    def content_taken(self) -> None:
        """The whole content is in its consumer's hands."""

    def abandon(self) -> None:
        """Nobody wants the rest."""


class Http1Body:
    """A ByteStream that hands out at once all that came since it was last asked.

    The connection puts in; the consumer takes out. One consumer, one wait at a time.
    """

    __slots__ = (
        "_complete", "_ended", "_fault", "_parts", "_paused", "_sink", "_size", "_source", "_wait",
    )  # fmt: skip

    def __init__(self, source: Source) -> None:
        self._source = source
        self._parts: list[bytes] = []
        self._size = 0
        self._paused = False
        self._complete = False  # the last byte is here
        self._ended = False  # the source is not ours any more
        self._fault: BackendError | None = None
        self._wait: asyncio.Future[None] | None = None
        self._sink: Sink | None = None

    # The connection's side.

    def put(self, content: bytes, *, complete: bool) -> None:
        """More content; `complete` when it was the last."""
        self._complete = complete
        if self._sink is not None:
            wants_more = not content or self._sink(content)
            if wants_more and not complete:
                self._source.await_part()
                return
            self._sink = None
            if not wants_more and not complete:
                self._paused = True
                self._source.pause()
            self._wake()
            return
        if content:  # the end of a body may come alone
            self._parts.append(content)
            self._size += len(content)
        if not complete and self._size > HIGH_WATER_BYTES and not self._paused:
            self._paused = True
            self._source.pause()
        self._wake()

    def fail(self, fault: BackendError) -> None:
        """The rest will never come. What came is dropped: a part is no body."""
        self._fault = fault
        self._ended = True
        self._parts.clear()
        self._wake()

    # The consumer's side.

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._parts and not self._complete and not self._ended:
            await self._next_part()
        if self._parts:
            return self._take()
        if self._fault is not None:
            raise self._fault from None
        if self._complete:
            self._end()
            raise StopAsyncIteration
        raise RunnerProtocolError("stream_closed", phase=Phase.BODY)

    async def forward(self, sink: "Sink") -> bool:
        """Hand over what comes to `sink` as it comes, without a turn of the event loop between.

        Returns:
            Whether that was all; False: the sink wants no more for now.

        Raises:
            BackendError: as iterating does.
        """
        while self._parts:
            if not sink(self._take()):
                return False
        self._read_on()
        if self._complete or self._ended:
            return await self._is_over()
        self._sink = sink
        try:
            await self._next_part()
        finally:
            self._sink = None
        return await self._is_over() if self._complete or self._ended else False

    async def _is_over(self) -> bool:
        """Whether the body has ended well. Raises why it has not."""
        try:
            await self.__anext__()
        except StopAsyncIteration:
            return True
        raise AssertionError("a part was left")

    async def aclose(self) -> None:
        self._parts.clear()
        if not self._ended:
            self._ended = True
            self._complete = False
            self._source.abandon()

    async def _next_part(self) -> None:
        self._read_on()
        self._wait = asyncio.get_running_loop().create_future()
        self._source.await_part()
        try:
            await self._wait
        except BaseException:
            await self.aclose()
            raise
        finally:
            self._wait = None

    def _take(self) -> bytes:
        parts = self._parts
        content = parts[0] if len(parts) == 1 else b"".join(parts)
        self._parts = []
        self._size = 0
        if self._complete:
            self._end()
        else:
            self._read_on()
        return content

    def _read_on(self) -> None:
        if self._paused and not self._complete and not self._ended:
            self._paused = False
            self._source.resume()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._source.content_taken()

    def _wake(self) -> None:
        if self._wait is not None and not self._wait.done():
            self._wait.set_result(None)
