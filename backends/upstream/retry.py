"""The retry rule: once, and only when the first attempt provably changed nothing.

A connection that was used before may die between two calls without anybody's fault. What asks
for nothing to happen may then be asked again (RFC 9110 section 9.2.2); an execute whose bytes
left this process may have run, and is never sent twice.
"""

from dataclasses import replace
from typing import Final

import structlog

from backends.upstream.transport import (
    ConnectionLost,
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
        self._retries = 0

    async def exchange(self, request: UpstreamRequest, /) -> UpstreamResponse:
        try:
            return await self._transport.exchange(request)
        except ConnectionLost as lost:
            if not lost.reused or (lost.sent and request.method not in _SAFE_METHODS):
                raise
            self._retries += 1
            _log.info("upstream_retried", method=request.method, error=lost.reason)
        return await self._transport.exchange(request)

    def stats(self) -> TransportStats:
        return replace(self._transport.stats(), retries=self._retries)

    async def aclose(self) -> None:
        await self._transport.aclose()


_guard: type[Transport] = RetryOnce
