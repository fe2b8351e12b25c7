"""A runner in containers that come and go: found by compose labels, followed through rebuilds."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import Final

from backends.contract import (
    AssetRequest,
    AssetResponse,
    BackendHealth,
    BackendIdentity,
    BackendKind,
    BackendStats,
    ExecuteRequest,
    ExecuteResult,
    Readiness,
    RunnerBackend,
)
from backends.docker_engine.address import find_engine
from backends.docker_engine.candidates import Candidate, Scope
from backends.docker_engine.dispatch import HOLD_S, Dispatch
from backends.docker_engine.log_follow import follow_logs
from backends.docker_engine.replicas import OpenClient, Replica, Replicas
from backends.docker_engine.watch import ContainerWatch, Snapshot
from backends.knock import Knocks
from backends.runner_log import KeepsLog, LogLine
from backends.settings import DockerSettings
from backends.ui_url import build_ui_url
from backends.upstream.runner_client import RunnerClient

MAX_PROBED: Final = 16
_SHORT_ID: Final = 12


class DiscoveredDockerBackend:
    """The runner protocol to whichever containers of one compose service are healthy.

    Args:
        open_client: makes the connections to one container.
        hold_s: how long calls wait for a container that is being rebuilt.
    """

    def __init__(
        self, settings: DockerSettings, open_client: OpenClient, *, hold_s: float = HOLD_S
    ) -> None:
        self._settings = settings
        self._replicas = Replicas(open_client)
        self._watch = ContainerWatch(
            lambda: find_engine(settings.engine),
            Scope(service=settings.service, project=settings.project),
            own_container=settings.engine.own_container,
            on_change=self._follow,
        )
        self._dispatch = Dispatch(self._watch, self._replicas, hold_s=hold_s)
        name = f"{settings.project or '*'}/{settings.service}"
        self.identity = BackendIdentity(kind=BackendKind.DOCKER, name=name)

    async def start(self) -> None:
        """Look for containers, for five seconds at most. Raises nothing: health() tells."""
        await self._watch.start()

    @property
    def snapshot(self) -> Snapshot:
        """The containers as they are now."""
        return self._watch.snapshot

    async def execute(self, request: ExecuteRequest, /) -> ExecuteResult:
        async def call(client: RunnerClient, left_s: float) -> ExecuteResult:
            return await client.execute(replace(request, timeout_s=left_s))

        return await self._dispatch.send(call, timeout_s=request.timeout_s, repeatable=False)

    async def fetch_asset(self, request: AssetRequest, /) -> AssetResponse:
        async def call(client: RunnerClient, left_s: float) -> AssetResponse:
            return await client.fetch_asset(replace(request, timeout_s=left_s))

        return await self._dispatch.send(call, timeout_s=request.timeout_s, repeatable=True)

    def resolve_ui_url(
        self,
        extension_id: str,
        content_hash: str,
        client_path: str = "/",
        *,
        tenant_id: str | None = None,
    ) -> str:
        base = self._settings.public_url or self._settings.public_base
        return build_ui_url(base, extension_id, content_hash, client_path, tenant_id=tenant_id)

    async def knock(self, service_token: str | None, /, *, timeout_s: float) -> None:
        async def call(client: RunnerClient, left_s: float) -> None:
            await client.knock(service_token, timeout_s=left_s)

        await self._dispatch.send(call, timeout_s=timeout_s, repeatable=True)

    async def health(self) -> BackendHealth:
        """Ready when one container is healthy and its runner answers /healthz too."""
        began = time.perf_counter()
        ready = self._replicas.ready[:MAX_PROBED]
        if self._watch.closed or not ready:
            why, _ = self.snapshot.why_none
            detail = "backend_closed" if self._watch.closed else why
            return BackendHealth(readiness=Readiness.DOWN, detail=detail, facts=self._states())
        answers = await asyncio.gather(*(each.client.health() for each in ready))
        well = [each for each in answers if each.readiness is Readiness.READY]
        return BackendHealth(
            readiness=Readiness.READY if well else Readiness.DOWN,
            detail=next((each.detail for each in answers if each.detail), ""),
            latency_ms=(time.perf_counter() - began) * 1000,
            facts={**(well or answers)[0].facts, **self._states(), "answering": len(well)},
        )

    async def metadata(self) -> Mapping[str, object]:
        """The engine without its address: that is a socket as good as root."""
        address, snapshot = self._watch.address, self.snapshot
        ready = {each.candidate.container_id: each for each in self._replicas.ready}
        return {
            "kind": self.identity.kind,
            "engine": {
                "found_by": None if address is None else address.why,
                "scheme": None if address is None else address.scheme,
                "fault": snapshot.fault,
            },
            "project": self._settings.project,
            "service": self._settings.service,
            "held": self._dispatch.held,
            "moved": self._dispatch.retries,
            "containers": [
                _shown(each, ready.get(each.container_id)) for each in snapshot.candidates
            ],
        }

    def stats(self) -> BackendStats:
        pools = self._replicas.stats()
        return replace(pools, retries=pools.retries + self._dispatch.retries)

    async def warm(self, content_hash: str, /) -> None:
        """Nothing: the runner protocol cannot warm a bundle without its tenant."""

    def page_fetched(self, page: AssetRequest, /) -> None:
        """Nothing: a runner that runs is warm enough."""

    def log_lines(self, *, follow: bool, tail: int | None) -> AsyncGenerator[LogLine, None]:
        """The containers' log lines as they come; see `follow_logs`. Close the generator."""
        return follow_logs(self._watch, follow=follow, tail=tail)

    async def aclose(self) -> None:
        await self._watch.aclose()
        await self._replicas.aclose()

    def _follow(self, snapshot: Snapshot) -> None:
        # Before the replicas follow, so that it sees both those that were and those that are.
        self._dispatch.noticed(snapshot)
        self._replicas.follow(snapshot)

    def _states(self) -> dict[str, object]:
        return {
            "containers": [
                {"name": each.name, "state": each.state, "health": each.health, "why": each.why}
                for each in self.snapshot.candidates
            ]
        }


def _shown(candidate: Candidate, replica: Replica | None) -> dict[str, object]:
    return {
        "name": candidate.name,
        "id": candidate.container_id[:_SHORT_ID],
        "image": candidate.image,
        "digest": candidate.digest,
        "project": candidate.project,
        "number": candidate.number,
        "state": candidate.state,
        "health": candidate.health,
        "started_at": candidate.started_at or None,
        "ports": candidate.ports,
        "address": candidate.url,
        "why": candidate.why,
        "advice": candidate.advice,
        "runner": None if replica is None else replica.client.facts(),
    }


_guard: type[RunnerBackend] = DiscoveredDockerBackend
_log_guard: type[KeepsLog] = DiscoveredDockerBackend
_knock_guard: type[Knocks] = DiscoveredDockerBackend
