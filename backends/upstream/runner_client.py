"""The runner protocol over a transport: what is sent, and what the answers mean."""

import math
import time
from collections.abc import Awaitable
from typing import Final

from backends.contract import (
    AssetRequest,
    AssetResponse,
    BackendHealth,
    BackendStats,
    ExecuteRequest,
    ExecuteResult,
)
from backends.envelope.call import encode_request, encode_warmup
from backends.envelope.members import EnvelopeError
from backends.envelope.result import decode_result
from backends.errors import BackendError, CallRefused, Phase, RunnerProtocolError
from backends.header_policy import (
    asset_to_runner,
    knock_to_runner,
    own_of,
    to_runner,
    warmup_to_runner,
)
from backends.prompt import Callback, Cancel, Outcome
from backends.settings import Timeouts
from backends.upstream.address import RunnerAddress
from backends.upstream.assets import RunnerSite, asset_response, asset_target, ready_response
from backends.upstream.bodies import WholeBody, content_length, discard, read_whole
from backends.upstream.health import probe
from backends.upstream.retry import RetryOnce
from backends.upstream.statuses import refusal
from backends.upstream.transport import (
    Budget,
    Transport,
    UpstreamRequest,
    UpstreamResponse,
)

MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
HEALTH_BUDGET_S: Final = 2.0

_LET_IN: Final = frozenset({200, 400, 422})
"""What a runner says of an envelope without content, which it has looked at then."""

# Spelled once: the annotations of an inner function are evaluated whenever it is made.
_UpstreamOutcome = Outcome[UpstreamResponse]


class RunnerClient:
    """Speaks the runner protocol to one address.

    Args:
        transport: owned: closed with this.
        public_base: where browsers find the runner's UI files; redirects are moved there.
        max_answer_bytes: the largest envelope that is taken in.
        health_budget_s: how long a probe may take.
    """

    def __init__(
        self,
        transport: Transport,
        address: RunnerAddress,
        *,
        public_base: str,
        timeouts: Timeouts,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        health_budget_s: float = HEALTH_BUDGET_S,
    ) -> None:
        self._transport = RetryOnce(transport)
        self._address = address
        self._site = RunnerSite(address=address, public_base=public_base)
        self._timeouts = timeouts
        self._max_answer_bytes = max_answer_bytes
        self._health_budget_s = health_budget_s

    async def execute(self, request: ExecuteRequest) -> ExecuteResult:
        """POST /v1/execute; the answer's last byte within request.timeout_s."""
        response = await self._transport.exchange(self._execute_request(request))
        return await self._result(response)

    def begin_execute(
        self, request: ExecuteRequest, done: Callback[ExecuteResult]
    ) -> Cancel | None:
        """See PromptBackend.begin_execute."""
        outgoing = self._execute_request(request)

        def on_outcome(outcome: _UpstreamOutcome) -> None:
            if isinstance(outcome, UpstreamResponse):
                if not isinstance(outcome.body, WholeBody):
                    done(self._result(outcome))
                    return
                try:
                    result = self._whole_result(outcome, outcome.body)
                except BackendError as failure:
                    done(failure)
                else:
                    done(result)
            elif isinstance(outcome, BackendError):
                again = self._transport.second_attempt(outcome, outgoing)
                done(outcome if again is None else self._result(again))
            else:
                done(self._result(self._transport.watched(outcome, outgoing)))

        return self._transport.begin(outgoing, on_outcome)

    async def fetch_asset(self, request: AssetRequest) -> AssetResponse:
        """GET or HEAD of one UI file; the first byte within request.timeout_s."""
        outgoing = self._asset_request(request)
        return await self._late_asset(self._transport.exchange(outgoing), request, outgoing)

    def begin_asset(self, request: AssetRequest, done: Callback[AssetResponse]) -> Cancel | None:
        """See PromptBackend.begin_asset."""
        outgoing = self._asset_request(request)

        def on_outcome(outcome: _UpstreamOutcome) -> None:
            if isinstance(outcome, UpstreamResponse):
                try:
                    ready = ready_response(outcome, request, self._site)
                except BackendError as failure:
                    done(failure)
                else:
                    done(self._late_asset(outcome, request, outgoing) if ready is None else ready)
            elif isinstance(outcome, BackendError):
                again = self._transport.second_attempt(outcome, outgoing)
                done(outcome if again is None else self._late_asset(again, request, outgoing))
            else:
                done(
                    self._late_asset(self._transport.watched(outcome, outgoing), request, outgoing)
                )

        return self._transport.begin(outgoing, on_outcome)

    async def warm_up(self, page: AssetRequest) -> None:
        """POST /warmup: make the handler of a page's bundle ready. Its answer changes nothing.

        A runner that cannot do that says 400; it runs, which is most of what is wanted.
        """
        ends = time.monotonic() + page.timeout_s
        response = await self._transport.exchange(
            UpstreamRequest(
                method="POST",
                target=f"{self._address.base_path}/warmup",
                headers=warmup_to_runner(page),
                own=own_of(page),
                body=encode_warmup(page.content_hash),
                budget=self._budget(self._timeouts.first_byte_s, body_by=ends),
            )
        )
        await discard(response.body)

    async def knock(self, service_token: str | None, *, timeout_s: float) -> None:
        """See Knocks.knock."""
        response = await self._transport.exchange(
            UpstreamRequest(
                method="POST",
                target=f"{self._address.base_path}/v1/execute",
                headers=knock_to_runner(service_token),
                body=b"{}",
                budget=self._budget(None, body_by=time.monotonic() + timeout_s),
            )
        )
        await discard(response.body)
        if response.status not in _LET_IN:
            raise refusal(response.status, response.headers)

    async def health(self) -> BackendHealth:
        """GET /healthz, within a budget of its own. Raises no BackendError."""

        async def ask() -> UpstreamResponse:
            return await self._transport.exchange(
                UpstreamRequest(
                    method="GET",
                    target=f"{self._address.base_path}/healthz",
                    budget=self._budget(
                        self._timeouts.first_byte_s,
                        body_by=time.monotonic() + self._health_budget_s,
                    ),
                )
            )

        return await probe(ask)

    def stats(self) -> BackendStats:
        """What the pool holds now, and what it did so far."""
        pool = self._transport.stats()
        return BackendStats(
            connections_in_use=pool.in_flight, connections_idle=pool.idle, retries=pool.retries
        )

    def facts(self) -> dict[str, object]:
        """What an operator wants to see of the connections, without credentials."""
        stats = self._transport.stats()
        return {
            "base_url": self._address.url,
            "connections": {
                "in_flight": stats.in_flight,
                "idle": stats.idle,
                "opened": stats.opened,
                "reused": stats.reused,
            },
            "retries": stats.retries,
            "timeouts": {
                "connect_s": self._timeouts.connect_s,
                "first_byte_s": self._timeouts.first_byte_s,
                "idle_s": self._timeouts.idle_s,
            },
        }

    async def aclose(self) -> None:
        """Close every connection; calls still running fail with a BackendError."""
        await self._transport.aclose()

    def _execute_request(self, request: ExecuteRequest) -> UpstreamRequest:
        try:
            body = encode_request(request)
        except EnvelopeError as broken:
            raise CallRefused(broken.reason, phase=Phase.SEND) from None
        return UpstreamRequest(
            method="POST",
            target=f"{self._address.base_path}/v1/execute",
            headers=to_runner(request),
            own=own_of(request),
            body=body,
            budget=self._budget(
                self._timeouts.call_first_byte_s, body_by=time.monotonic() + request.timeout_s
            ),
        )

    async def _result(
        self, answered: UpstreamResponse | Awaitable[UpstreamResponse]
    ) -> ExecuteResult:
        response = answered if isinstance(answered, UpstreamResponse) else await answered
        try:
            _require_envelope(response)
            if (content_length(response.headers) or 0) > self._max_answer_bytes:
                raise RunnerProtocolError("answer_too_large", phase=Phase.BODY)
        except BackendError:
            await discard(response.body)
            raise
        return self._decoded(await read_whole(response.body, max_bytes=self._max_answer_bytes))

    def _whole_result(self, response: UpstreamResponse, body: WholeBody) -> ExecuteResult:
        _require_envelope(response)
        return self._decoded(body.take())

    def _decoded(self, raw: bytes) -> ExecuteResult:
        if len(raw) > self._max_answer_bytes:
            raise RunnerProtocolError("answer_too_large", phase=Phase.BODY)
        try:
            return decode_result(raw)
        except EnvelopeError as broken:
            raise RunnerProtocolError(broken.reason, phase=Phase.BODY) from None

    def _asset_request(self, request: AssetRequest) -> UpstreamRequest:
        return UpstreamRequest(
            method=request.method,
            target=asset_target(self._address, request),
            headers=asset_to_runner(request),
            own=own_of(request),
            budget=self._budget(
                self._timeouts.first_byte_s, head_by=time.monotonic() + request.timeout_s
            ),
        )

    async def _late_asset(
        self,
        answered: UpstreamResponse | Awaitable[UpstreamResponse],
        request: AssetRequest,
        outgoing: UpstreamRequest,
    ) -> AssetResponse:
        response = answered if isinstance(answered, UpstreamResponse) else await answered
        by = outgoing.budget.head_by or math.inf
        return await asset_response(response, request, self._site, first_byte_by=by)

    def _budget(
        self,
        first_byte_s: float | None,
        *,
        head_by: float | None = None,
        body_by: float | None = None,
    ) -> Budget:
        return Budget(
            connect_s=self._timeouts.connect_s,
            first_byte_s=first_byte_s,
            idle_s=self._timeouts.idle_s,
            head_by=head_by,
            body_by=body_by,
        )


def _require_envelope(response: UpstreamResponse) -> None:
    if response.status != 200:
        raise refusal(response.status, response.headers)
    for name, value in response.headers:
        if name == "content-encoding" and value.strip().lower() != "identity":
            # None was asked for.
            raise RunnerProtocolError("unsupported_content_coding", phase=Phase.BODY)
