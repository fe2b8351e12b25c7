"""What every request says at the ingress's door: for which service, by whose leave."""

from dataclasses import replace
from typing import Final

import structlog

from backends.contract import Pairs
from backends.knative_path.token import ServiceToken
from backends.upstream.bodies import discard
from backends.upstream.transport import (
    Transport,
    TransportStats,
    UpstreamRequest,
    UpstreamResponse,
)

# RFC 7239 section 6.3: an obfuscated identifier. Without the field queue-proxy makes one up
# from X-Forwarded-*, and the runner has no use for a client's address. The older fields say
# the same, so that nobody in between adds what the gateway has left out.
_FORWARDED: Final[Pairs] = (("forwarded", "for=_gateway"), ("x-forwarded-for", "unknown"))

_log = structlog.get_logger("backends.knative")


class Door:
    """A transport that adds Host, credentials and Forwarded, and renews a refused token once.

    A redirect is never followed, so the token goes to this one origin alone.

    Args:
        transport: owned.
        host: what Host names; None: the transport's own address.
        token: None: no credentials are sent.
    """

    def __init__(
        self, transport: Transport, *, host: str | None, token: ServiceToken | None
    ) -> None:
        self._transport = transport
        self._token = token
        self._fields: Pairs = (("host", host), *_FORWARDED) if host else _FORWARDED

    async def exchange(self, request: UpstreamRequest, /) -> UpstreamResponse:
        if self._token is None:
            return await self._send(request, None)
        token = self._token.read()
        response = await self._send(request, token)
        if response.status != 401:
            return response
        # Refused at the door means unprocessed, so one more attempt is safe; with the same
        # token it would be pointless.
        fresh = self._token.reread()
        if fresh == token:
            return response
        await discard(response.body)
        _log.info("token_renewed_after_refusal")
        return await self._send(request, fresh)

    def stats(self) -> TransportStats:
        return self._transport.stats()

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def _send(self, request: UpstreamRequest, token: str | None) -> UpstreamResponse:
        fields = request.headers + self._fields
        if token is not None:
            fields += (("authorization", f"Bearer {token}"),)
        return await self._transport.exchange(replace(request, headers=fields))


_guard: type[Transport] = Door
