"""The body of an answer as it comes off an aiohttp response."""

from collections.abc import Callable
from typing import Self

import aiohttp

from backends.errors import BackendError, Phase, RunnerProtocolError
from tests.reference_transport.countdown import Countdown


class SessionBody:
    """A ByteStream whose every chunk has a deadline, and whose end is known to be the end."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        countdown: Countdown,
        *,
        on_end: Callable[[], None],
    ) -> None:
        self._response = response
        self._countdown = countdown
        self._on_end = on_end
        self._ended = False
        self._complete = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._complete:
            raise StopAsyncIteration
        if self._ended:
            raise RunnerProtocolError("stream_closed", phase=Phase.BODY)
        content = self._response.content
        try:
            if content.is_eof():  # all of it is here, so there is no wait to bound
                chunk = await content.readany()
            else:
                chunk = await self._countdown.run(Phase.IDLE, content.readany)
        except (aiohttp.ClientError, OSError):
            await self.aclose()
            raise self._truncated() from None
        except BaseException:
            await self.aclose()
            raise
        if chunk:
            return chunk
        self._complete = True
        await self.aclose()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        if not self._ended:
            self._ended = True
            self._response.close()
            self._on_end()

    def _truncated(self) -> BackendError:
        if self._countdown.aborted:
            return self._countdown.closed()
        return RunnerProtocolError("truncated_answer", phase=Phase.BODY)
