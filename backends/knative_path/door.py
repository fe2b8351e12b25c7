"""Adds to every request what an ingress asks for: the service's Host, and a bearer token."""

from collections.abc import Awaitable
from typing import Final

import structlog

from backends.contract import Pairs
from backends.errors import BackendError
from backends.knative_path.token import ServiceToken
from backends.prompt import Callback, Cancel, Outcome
from backends.upstream.bodies import discard
from backends.upstream.transport import (
    PromptTransport,
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
        self._prompt = transport if isinstance(transport, PromptTransport) else None
        self._token = token
        self._fields: Pairs = (("host", host), *_FORWARDED) if host else _FORWARDED

    async def exchange(self, request: UpstreamRequest, /) -> UpstreamResponse:
        token = self._read()
        response = await self._transport.exchange(self._addressed(request, token))
        return response if response.status != 401 else await self._renewed(request, token, response)

    def begin(self, request: UpstreamRequest, done: Callback[UpstreamResponse], /) -> Cancel | None:
        if self._prompt is None:
            return None
        token = self._read()

        def on_outcome(outcome: Outcome[UpstreamResponse]) -> None:
            if isinstance(outcome, UpstreamResponse):
                done(outcome if outcome.status != 401 else self._renewed(request, token, outcome))
            elif isinstance(outcome, BackendError):
                done(outcome)
            else:
                done(self._late(request, token, outcome))

        return self._prompt.begin(self._addressed(request, token), on_outcome)

    def stats(self) -> TransportStats:
        return self._transport.stats()

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def _late(
        self, request: UpstreamRequest, token: str | None, answered: Awaitable[UpstreamResponse]
    ) -> UpstreamResponse:
        response = await answered
        return response if response.status != 401 else await self._renewed(request, token, response)

    async def _renewed(
        self, request: UpstreamRequest, token: str | None, refusal: UpstreamResponse
    ) -> UpstreamResponse:
        """The answer to a request that was refused with `token`, if there is a newer one."""
        # Refused at the door means unprocessed, so one more attempt is safe; with the same
        # token it would be pointless.
        fresh = None if self._token is None else self._token.reread()
        if fresh == token:
            return refusal
        await discard(refusal.body)
        _log.info("token_renewed_after_refusal")
        return await self._transport.exchange(self._addressed(request, fresh))

    def _read(self) -> str | None:
        return None if self._token is None else self._token.read()

    def _addressed(self, request: UpstreamRequest, token: str | None) -> UpstreamRequest:
        fields = request.headers + self._fields
        if token is not None:
            fields += (("authorization", f"Bearer {token}"),)
        return UpstreamRequest(
            method=request.method,
            target=request.target,
            headers=fields,
            own=request.own,
            body=request.body,
            budget=request.budget,
        )


_guard: type[PromptTransport] = Door
