"""Taking bodies in whole, and getting rid of them, both within a bound."""

import asyncio
from typing import Final, Self

from backends.contract import ByteStream, Pairs
from backends.errors import BackendError, Phase, RunnerProtocolError

SMALL_BYTES: Final = 64 * 1024
"""A body of no more than this is taken in whole: cheaper than streaming it."""

_SHORT_BYTES: Final = 4096
_SHORT_S: Final = 0.05


class WholeBody:
    """A ByteStream that is here already: no connection is behind it any more.

    Args:
        came: ends with the content.
        begin: where the content begins.
    """

    __slots__ = ("_begin", "_came", "_taken")

    def __init__(self, came: bytes, begin: int = 0) -> None:
        self._came: bytes | None = came
        self._begin = begin
        self._taken = False

    @property
    def size(self) -> int:
        """How many bytes are left."""
        return 0 if self._came is None else len(self._came) - self._begin

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if content := self.take():
            return content
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._came = None

    def take(self) -> bytes:
        """All that is left, without waiting for anything.

        Raises:
            RunnerProtocolError: "stream_closed": it was closed with content left in it.
        """
        return self._all()[self._begin :]

    def view(self) -> memoryview:
        """As `take`, without a copy."""
        return memoryview(self._all())[self._begin :]

    def _all(self) -> bytes:
        came = self._came
        if came is None:
            if self._taken:
                return b""
            raise RunnerProtocolError("stream_closed", phase=Phase.BODY)
        self._came = None
        self._taken = True
        return came


async def read_whole(body: ByteStream, *, max_bytes: int) -> bytes:
    """Everything that is left of a body, which is closed afterwards.

    Raises:
        RunnerProtocolError: "answer_too_large", as soon as more than `max_bytes` came.
        BackendError: what the body raises.
    """
    if isinstance(body, WholeBody):
        whole = body.take()
        if len(whole) > max_bytes:
            raise RunnerProtocolError("answer_too_large", phase=Phase.BODY)
        return whole
    parts = []
    size = 0
    try:
        async for part in body:
            size += len(part)
            if size > max_bytes:
                raise RunnerProtocolError("answer_too_large", phase=Phase.BODY)
            parts.append(part)
    finally:
        await body.aclose()
    return b"".join(parts)


async def read_short(body: ByteStream) -> bytes:
    """All of a body that is short and there, which keeps its connection usable; else nothing."""
    try:
        async with asyncio.timeout(_SHORT_S):
            return await read_whole(body, max_bytes=_SHORT_BYTES)
    except (BackendError, TimeoutError):
        await body.aclose()
        return b""


async def discard(body: ByteStream) -> None:
    """Drop a body that nobody may see; its connection stays usable when it is short."""
    if not isinstance(body, WholeBody):
        await read_short(body)


def content_length(headers: Pairs) -> int | None:
    """The length that a head announces; None when it does not say."""
    for name, value in headers:
        if name == "content-length" and value.isascii() and value.isdigit():
            return int(value)
    return None


def is_event_stream(headers: Pairs) -> bool:
    """Whether a head announces server-sent events, which may be silent for as long as they like."""
    return any(
        name == "content-type" and value.partition(";")[0].strip().lower() == "text/event-stream"
        for name, value in headers
    )
