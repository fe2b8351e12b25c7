"""A part of an open file as a body on its way; every read happens in a thread."""

import asyncio
import os
from collections.abc import AsyncIterator

from backends.errors import Phase, RunnerProtocolError, RunnerTimeout

CHUNK_BYTES = 256 * 1024
READ_TIMEOUT_S = 15.0  # a network file system may never answer


class FileStream:
    """Streams `length` bytes from `offset`, then closes the file.

    Raises, while iterating:
        RunnerProtocolError: the file is shorter than promised, or unreadable.
        RunnerTimeout: one chunk took longer than READ_TIMEOUT_S.
    """

    def __init__(self, descriptor: int, *, offset: int, length: int) -> None:
        """Owns `descriptor` from here on."""
        self._descriptor: int | None = descriptor
        self._offset = offset
        self._left = length
        self._reading: asyncio.Future[bytes] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._descriptor is None or self._left == 0:
            await self.aclose()
            raise StopAsyncIteration
        try:
            chunk = await self._read(self._descriptor)
        except BaseException:
            await self.aclose()
            raise
        self._offset += len(chunk)
        self._left -= len(chunk)
        return chunk

    async def aclose(self) -> None:
        """Close the file; safe to call twice, and while a read is under way."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if self._reading is None or self._reading.done():
            os.close(descriptor)
        else:
            # The thread still reads; closing now could hand it somebody else's file.
            self._reading.add_done_callback(lambda _: os.close(descriptor))

    async def _read(self, descriptor: int) -> bytes:
        size = min(CHUNK_BYTES, self._left)
        self._reading = asyncio.get_running_loop().run_in_executor(
            None, os.pread, descriptor, size, self._offset
        )
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                chunk = await asyncio.shield(self._reading)
        except TimeoutError:
            raise RunnerTimeout(phase=Phase.IDLE, budget_s=READ_TIMEOUT_S) from None
        except OSError as error:
            raise RunnerProtocolError("file_unreadable", phase=Phase.BODY) from error
        if not chunk:
            raise RunnerProtocolError("file_truncated", phase=Phase.BODY)
        return chunk
