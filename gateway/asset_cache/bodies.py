"""Bodies that come out of memory: a finished one in slices, and one that is still coming in.

A transport copies what it cannot send at once, so handing it a large body whole would hold
that body once more for every slow client.
"""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Final, Self

from backends.contract import ByteStream
from backends.errors import BackendError, Phase, RunnerProtocolError

SLICE_BYTES: Final = 256 * 1024
"""A body of no more than this is sent in one write."""


def sliced(content: bytes | memoryview, owner: object = None) -> bytes | ByteStream:
    """A body as an AssetResponse carries it: bytes when short, else a stream of slices.

    Args:
        owner: kept alive while the stream is read.
    """
    return bytes(content) if len(content) <= SLICE_BYTES else Slices(content, owner)


class Slices:
    """A ByteStream over bytes; nothing is copied but the slice that is on its way."""

    __slots__ = ("_content", "_offset", "_owner")

    def __init__(self, content: bytes | memoryview, owner: object) -> None:
        self._content = content
        self._offset = 0
        self._owner = owner

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        part = self._content[self._offset : self._offset + SLICE_BYTES]
        if not part:
            raise StopAsyncIteration
        self._offset += len(part)
        return bytes(part)

    async def aclose(self) -> None:
        """Nothing is held but memory."""
        self._content = b""
        self._owner = None


class Tee:
    """Takes a body in at the runner's pace while one reader follows at its own.

    A ByteStream for that reader. `take_in` must run in a task of its own, since a slow
    reader must not hold up those who wait for the file.

    Args:
        source: owned: closed when `take_in` ends.
        size: how many bytes are to come; never more than this is held.
        on_reader_left: told when the reader goes before all of it has come.

    Attributes:
        begun, over: how far `take_in` is.
        reader_left: whether the reader has closed this.
        owner: of the bytes, once there is one: kept alive until the reader has closed this.
    """

    def __init__(
        self, source: ByteStream, *, size: int, on_reader_left: Callable[[], None]
    ) -> None:
        self._source = source
        self._size = size
        self._sha256 = hashlib.sha256()
        self._parts: list[bytes] = []
        self._taken = 0
        self._whole: bytes | None = None
        self._read = 0  # bytes that the reader has had
        self._next = 0  # the part that comes next, while there are parts
        self._failure: BackendError | None = None
        self.over = False
        self._news = asyncio.Event()
        self._on_reader_left = on_reader_left
        self.begun = False
        self.reader_left = False
        self.owner: object = None

    @property
    def sha256(self) -> str:
        """The hash of what has been taken in, in hex."""
        return self._sha256.hexdigest()

    async def take_in(self) -> bytes:
        """Everything that the source gives. How long a pause may be is the source's rule.

        Raises:
            BackendError: what the source raised, which the reader hears of too; or that it
                gave more or less than it had announced.
        """
        self.begun = True
        self._failure = RunnerProtocolError("fill_stopped", phase=Phase.BODY)
        try:
            async for part in self._source:
                self._take(part)
            if self._taken != self._size:
                raise RunnerProtocolError("truncated_answer", phase=Phase.BODY)
            whole = self._whole = b"".join(self._parts)
            self._parts.clear()
            self._failure = None
        except BackendError as failure:
            self._failure = failure
            raise
        finally:
            self.over = True
            self._news.set()
            await self._source.aclose()
        return whole

    def _take(self, part: bytes) -> None:
        self._taken += len(part)
        if self._taken > self._size:
            raise RunnerProtocolError("overlong_answer", phase=Phase.BODY)
        self._sha256.update(part)
        self._parts.append(part)
        self._news.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self.reader_left:
            if self._whole is not None:
                part = self._whole[self._read : self._read + SLICE_BYTES]
                if not part:
                    raise StopAsyncIteration
                self._read += len(part)
                return part
            if self._next < len(self._parts):
                part = self._parts[self._next]
                self._next += 1
                self._read += len(part)
                return part
            if self.over and self._failure is not None:
                raise self._failure
            self._news.clear()
            await self._news.wait()
        raise RunnerProtocolError("stream_closed", phase=Phase.BODY)

    async def aclose(self) -> None:
        """The reader is done, or gone; the rest may still be taken in for others."""
        self.reader_left = True
        self.owner = self._whole = None  # however long whoever closed this keeps it
        self._news.set()
        if not self.over:
            self._on_reader_left()
