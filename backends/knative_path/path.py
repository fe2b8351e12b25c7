"""A runner client for Knative: admission, circuit breaker, cold starts, probes, warming."""

import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Final, TypeVar

from backends.contract import (
    AssetRequest,
    AssetResponse,
    BackendHealth,
    BackendStats,
    ExecuteRequest,
    ExecuteResult,
    Readiness,
)
from backends.knative_path.admission import HANDLERS, Admission
from backends.knative_path.breaker import Breaker, Circuit, was_reached
from backends.knative_path.cold_figures import ColdFigures
from backends.knative_path.cold_start import CallContext, ColdStart, current_call
from backends.knative_path.service import ServiceState
from backends.knative_path.serving import ServingReader
from backends.knative_path.warming import Warming
from backends.prompt import Callback, Cancel, Outcome
from backends.upstream.health import probe
from backends.upstream.runner_client import HEALTH_BUDGET_S, RunnerClient
from backends.upstream.transport import Budget, Transport, UpstreamRequest, UpstreamResponse

T = TypeVar("T", ExecuteResult, AssetResponse)

UNKNOWN_BOUND: Final = 64
"""Calls of one extension at once, when the service has no bound or does not say."""

_PODS_LINE: Final = 10
"""queue-proxy lines up ten times what its pod runs at once before it refuses."""

_WORTH_TELLING_S: Final = 0.001


def extension_bound(state: ServiceState | None) -> int:
    """How many calls of one extension may run at once.

    Everything that the pods may become, when that is known: less would keep the autoscaler,
    which counts what is offered, from ever starting them. Else what one pod takes and lines up.
    """
    if state is None or not state.container_concurrency:
        return UNKNOWN_BOUND
    pods = state.max_scale or _PODS_LINE
    return min(state.container_concurrency * pods, HANDLERS)


class KnativePath:
    """What RunnerClient is to a plain runner, for one behind Knative.

    Args:
        client: owned; its transport is `cold_start`, behind the door.
        door: the way in without waiting, for probes.
        target: where a probe goes, base path included.
        serving: owned; None: the Serving API is not read.
        warm_on_page: fetching a page warms its handler.
        quiet_probe: ask the ingress and not the runner, which an ordinary request would wake.
    """

    def __init__(
        self,
        client: RunnerClient,
        *,
        cold_start: ColdStart,
        figures: ColdFigures,
        door: Transport,
        target: str,
        serving: ServingReader | None,
        warm_on_page: bool,
        quiet_probe: bool,
    ) -> None:
        self._client = client
        self._cold_start = cold_start
        self._figures = figures
        self._door = door
        self._target = target
        self._serving = serving
        self._quiet_probe = quiet_probe
        self._warming = (
            Warming(client.warm_up, is_cold=lambda: cold_start.cold) if warm_on_page else None
        )
        self._breaker = Breaker()
        self._admission = Admission(per_extension=lambda: extension_bound(self._state()))

    async def execute(self, request: ExecuteRequest) -> ExecuteResult:
        """POST /v1/execute: in line with the other calls of its extension first."""
        ends = time.monotonic() + request.timeout_s

        async def run() -> ExecuteResult:
            extension = request.context.extension_id
            began = time.monotonic()
            async with self._admission.turn(extension, timeout_s=request.timeout_s):
                now = time.monotonic()
                waited = now - began
                if waited < _WORTH_TELLING_S:
                    return await self._client.execute(request)
                result = await self._client.execute(replace(request, timeout_s=ends - now))
                return replace(result, queued_ms=waited * 1000)

        result = await self._watched(request.context.extension_id, run)
        if self._warming is not None:
            self._warming.called(request.context.content_hash)
        return result

    async def fetch_asset(self, request: AssetRequest) -> AssetResponse:
        """One UI file. Files stand in no line: handlers leave connections for them."""
        return await self._watched(request.extension_id, lambda: self._client.fetch_asset(request))

    def begin_execute(
        self, request: ExecuteRequest, done: Callback[ExecuteResult]
    ) -> Cancel | None:
        """See PromptBackend.begin_execute: for a warm service whose line is empty."""
        extension = request.context.extension_id
        if self._breaker.circuit is not Circuit.CLOSED or not self._admission.enter(extension):
            return None

        def on_outcome(outcome: Outcome[ExecuteResult]) -> None:
            if isinstance(outcome, Coroutine):
                done(self._late(extension, outcome, in_line=True))
                return
            self._admission.leave(extension)
            self._breaker.record(was_reached(outcome), probe=None)
            if self._warming is not None and isinstance(outcome, ExecuteResult):
                self._warming.called(request.context.content_hash)
            done(outcome)

        cancel = None
        try:
            cancel = self._client.begin_execute(request, on_outcome)
        finally:
            if cancel is None:
                self._admission.leave(extension)
        if cancel is None:
            return None

        def leave() -> None:
            cancel()
            self._admission.leave(extension)

        return leave

    def begin_asset(self, request: AssetRequest, done: Callback[AssetResponse]) -> Cancel | None:
        """See PromptBackend.begin_asset: for a warm service."""
        if self._breaker.circuit is not Circuit.CLOSED:
            return None

        def on_outcome(outcome: Outcome[AssetResponse]) -> None:
            if isinstance(outcome, Coroutine):
                done(self._late(request.extension_id, outcome, in_line=False))
                return
            self._breaker.record(was_reached(outcome), probe=None)
            done(outcome)

        return self._client.begin_asset(request, on_outcome)

    def page_fetched(self, page: AssetRequest) -> None:
        """Warm its handler beside the traffic, when that is wanted and of any use."""
        if self._warming is not None:
            self._warming.page_fetched(page)

    async def knock(self, service_token: str | None, *, timeout_s: float) -> None:
        """See Knocks.knock: it stands in no line, and waits for a start."""
        await self._client.knock(service_token, timeout_s=timeout_s)

    async def health(self) -> BackendHealth:
        """The API's word on the service, then a probe through the ingress."""
        state = self._state()
        if state is not None and not state.serving:
            detail = "service_not_ready" if state.url else "service_unknown"
            return BackendHealth(readiness=Readiness.DOWN, detail=detail)
        health = await (probe(self._probe) if self._quiet_probe else self._client.health())
        if state is None or health.readiness is Readiness.DOWN or health.detail:
            return health
        if not (state.ready and state.current):
            return replace(health, detail="rollout_in_progress")
        return replace(health, detail="scaled_to_zero" if state.asleep else "")

    def stats(self) -> BackendStats:
        """What the pool holds, and what starts took."""
        stats = self._client.stats()
        return replace(
            stats,
            retries=stats.retries + self._cold_start.retries,
            cold_starts=self._figures.histogram(),
        )

    def facts(self) -> dict[str, object]:
        """What an operator wants to see."""
        return {
            **self._client.facts(),
            "retries": self.stats().retries,
            "circuit": self._breaker.circuit.value,
            "cold": self._cold_start.cold,
            "cold_starts": self._figures.facts(),
            "handlers": {
                "running": self._admission.running,
                "waiting": self._admission.waiting,
                "per_extension": extension_bound(self._state()),
            },
            "serving": None if self._serving is None else self._serving.facts(),
        }

    async def aclose(self) -> None:
        """Stop watching and close every connection."""
        if self._warming is not None:
            await self._warming.aclose()
        if self._serving is not None:
            await self._serving.aclose()
        await self._client.aclose()

    def _state(self) -> ServiceState | None:
        """None: not read, or nothing was heard yet."""
        if self._serving is None or self._serving.state == ServiceState():
            return None
        return self._serving.state

    async def _watched(self, extension: str, run: Callable[[], Awaitable[T]]) -> T:
        with self._breaker.call():
            return await self._with_queue_time(extension, run())

    async def _late(self, extension: str, outcome: Awaitable[T], *, in_line: bool) -> T:
        """The rest of a call that was begun; `in_line` when it holds a place."""
        try:
            with self._breaker.watching():
                return await self._with_queue_time(extension, outcome)
        finally:
            if in_line:
                self._admission.leave(extension)

    async def _with_queue_time(self, extension: str, outcome: Awaitable[T]) -> T:
        """The outcome, which says how long its call waited for a start."""
        context = CallContext(extension)
        token = current_call.set(context)
        try:
            result = await outcome
        finally:
            current_call.reset(token)
        if context.queued_s < _WORTH_TELLING_S:
            return result
        return replace(result, queued_ms=(result.queued_ms or 0.0) + context.queued_s * 1000)

    async def _probe(self) -> UpstreamResponse:
        """As an ingress controller asks: activator and queue-proxy answer, and nobody is woken."""
        return await self._door.exchange(
            UpstreamRequest(
                method="GET",
                target=self._target,
                headers=(("k-network-probe", "probe"), ("user-agent", "Knative-Ingress-Probe")),
                budget=Budget(
                    connect_s=HEALTH_BUDGET_S,
                    first_byte_s=HEALTH_BUDGET_S,
                    idle_s=HEALTH_BUDGET_S,
                    body_by=time.monotonic() + HEALTH_BUDGET_S,
                ),
            )
        )
