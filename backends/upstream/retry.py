"""The retry rule: once, and only when the first attempt provably changed nothing.

A connection that was used before may die between two calls without anybody's fault. What asks
for nothing to happen may then be asked again (RFC 9110 section 9.2.2); an execute whose bytes
left this process may have run, and is never sent twice.
"""

from collections.abc import Awaitable, Coroutine
from dataclasses import replace
from typing import Any, Final

import structlog

from backends.errors import BackendError
from backends.prompt import Callback, Cancel
from backends.upstream.transport import (
    ConnectionLost,
    PromptTransport,
    Transport,
    TransportStats,
    UpstreamRequest,
    UpstreamResponse,
)

_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
_log = structlog.get_logger("backends.upstream")


class RetryOnce:
    """A transport that sends again over another one, counts it and logs it.

    A connection that never came about is not tried again: the address is the same, and
    whoever waits is better told at once.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._prompt = transport if isinstance(transport, PromptTransport) else None
        self._retries = 0

    async def exchange(self, request: UpstreamRequest, /) -> UpstreamResponse:
        return await self.watched(self._transport.exchange(request), request)

    async def watched(
        self, first: Awaitable[UpstreamResponse], request: UpstreamRequest
    ) -> UpstreamResponse:
        """The outcome of a first attempt, or of the second one where the rule allows that."""
        try:
            return await first
        except ConnectionLost as lost:
            if not _changed_nothing(lost, request):
                raise
            return await self._again(request, lost)

    def begin(self, request: UpstreamRequest, done: Callback[UpstreamResponse], /) -> Cancel | None:
        """Begin it; its outcome has still to be shown to `second_attempt` or `watched`."""
        return None if self._prompt is None else self._prompt.begin(request, done)

    def second_attempt(
        self, failure: BackendError, request: UpstreamRequest
    ) -> Coroutine[Any, Any, UpstreamResponse] | None:
        """What follows a failure of `begin`, when the rule allows one; to be awaited."""
        if isinstance(failure, ConnectionLost) and _changed_nothing(failure, request):
            return self._again(request, failure)
        return None

    async def _again(self, request: UpstreamRequest, lost: ConnectionLost) -> UpstreamResponse:
        self._retries += 1
        _log.info(
            "upstream_retried",
            request_id=request.request_id,
            method=request.method,
            error=lost.reason,
        )
        return await self._transport.exchange(request)

    def stats(self) -> TransportStats:
        return replace(self._transport.stats(), retries=self._retries)

    async def aclose(self) -> None:
        await self._transport.aclose()


def _changed_nothing(lost: ConnectionLost, request: UpstreamRequest) -> bool:
    return lost.reused and (not lost.sent or request.method in _SAFE_METHODS)


_guard: type[Transport] = RetryOnce
