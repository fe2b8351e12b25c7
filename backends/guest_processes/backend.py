"""The backend: UI files from here, calls to whichever guest process is the least busy."""

import asyncio
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import count
from typing import Final

import structlog

from backends.bundles.store import BundleStore
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
from backends.embedded.assets import AssetFiles
from backends.embedded.idempotency import IdempotentRuns
from backends.errors import BackendError, Phase, RunnerUnreachable
from backends.guest_processes.place import Place, any_serving
from backends.guest_processes.process import ProcessNotStarted, StartProcess
from backends.settings import EmbeddedSettings
from backends.ui_url import build_ui_url

HOLD_S: Final = 5.0
"""How long a call waits for a process while none runs, within its own budget."""
WARM_S: Final = 60.0

_log = structlog.get_logger("backends.guest_processes")


class GuestProcessesBackend:
    """A RunnerBackend without a runner. Open it with `open_guest_processes`.

    A process that ends takes the calls with it that ran there, as a runner would; another one
    is started in its place. No guest code runs in this process.
    """

    def __init__(self, settings: EmbeddedSettings, places: tuple[Place, ...], token: str) -> None:
        self.identity = BackendIdentity(
            kind=BackendKind.EMBEDDED, name=f"guest-processes-{len(places)}"
        )
        self._settings = settings
        self._places = places
        self._token = token
        self._turns = count(1)
        self._closed = False
        # Here, because what one process has answered another one has to know.
        self._idempotent = IdempotentRuns()
        self._assets = AssetFiles.of(BundleStore(settings.bundle_dir), settings)

    async def execute(self, request: ExecuteRequest, /) -> ExecuteResult:
        """Run the handler in one of the processes; see RunnerBackend.

        Raises:
            RunnerUnreachable: none runs, and none came in time.
            RunnerProtocolError: the process ended with the call under way.
            BackendError: whatever a runner's client raises.
        """
        return await self._idempotent.run(request, lambda: self._execute(request))

    async def _execute(self, request: ExecuteRequest) -> ExecuteResult:
        until = time.monotonic() + request.timeout_s
        place = await self._place(until)
        return await place.client.execute(
            replace(
                request,
                timeout_s=until - time.monotonic(),
                service_token=self._token,
                idempotency_key=None,  # looked at already; the guest hears of it all the same
            )
        )

    async def _place(self, until: float) -> Place:
        place = self._least_busy()
        if place is None and not self._closed:
            await any_serving(self._places, min(HOLD_S, until - time.monotonic()))
            place = self._least_busy()
        if self._closed:
            raise RunnerUnreachable("backend_closed", phase=Phase.ADMIT)
        if place is None:
            raise RunnerUnreachable("no_guest_process", phase=Phase.ADMIT)
        place.turn = next(self._turns)
        return place

    @property
    def _serving(self) -> list[Place]:
        return [each for each in self._places if each.serving.is_set()]

    def _least_busy(self) -> Place | None:
        return min(self._serving, key=_busyness, default=None)

    async def fetch_asset(self, request: AssetRequest, /) -> AssetResponse:
        """Answer with a UI file of the bundle; see AssetFiles."""
        return await self._assets.fetch(request)

    def resolve_ui_url(
        self,
        extension_id: str,
        content_hash: str,
        client_path: str = "/",
        *,
        tenant_id: str | None = None,
    ) -> str:
        """Where a browser finds the page. Raises ValueError on a malformed hash."""
        base = self._settings.public_base
        return build_ui_url(base, extension_id, content_hash, client_path, tenant_id=tenant_id)

    async def health(self) -> BackendHealth:
        """Ready when one process runs and is well. Never raises."""
        began = time.perf_counter()
        serving = self._serving
        if self._closed or not serving:
            detail = "closed" if self._closed else "no_guest_process"
            return BackendHealth(readiness=Readiness.DOWN, detail=detail, facts=self._facts())
        answers = await asyncio.gather(*(each.client.health() for each in serving))
        well = any(each.readiness is Readiness.READY for each in answers)
        return BackendHealth(
            readiness=Readiness.READY if well else Readiness.DOWN,
            detail="" if well else next((each.detail for each in answers if each.detail), ""),
            latency_ms=(time.perf_counter() - began) * 1_000,
            facts=self._facts(),
        )

    async def metadata(self) -> Mapping[str, object]:
        """The processes, their limits and their load. No absolute paths."""
        return {**self._settings.facts(), **self._facts()}

    def _facts(self) -> dict[str, object]:
        return {"processes": [each.facts() for each in self._places]}

    def stats(self) -> BackendStats:
        """The connections to the processes."""
        every = [each.client.stats() for each in self._places]
        return BackendStats(
            connections_in_use=sum(each.connections_in_use for each in every),
            connections_idle=sum(each.connections_idle for each in every),
            retries=sum(each.retries for each in every),
        )

    async def warm(self, content_hash: str, /) -> None:
        """Compile the bundle's component in every process. Never raises."""
        page = AssetRequest(
            request_id="warming",
            method="GET",
            extension_id="",
            content_hash=content_hash,
            path="",
            timeout_s=WARM_S,
            service_token=self._token,
        )
        for failure in await asyncio.gather(
            *(each.client.warm_up(page) for each in self._serving), return_exceptions=True
        ):
            if isinstance(failure, BackendError):
                _log.warning("bundle_not_warmed", content_hash=content_hash, error=failure.reason)
            elif failure is not None:
                raise failure

    def page_fetched(self, page: AssetRequest, /) -> None:
        """Nothing: installed bundles were compiled when the processes started."""

    async def aclose(self) -> None:
        """End the processes; calls still running fail with a BackendError."""
        self._closed = True
        await self._idempotent.aclose()
        await _close(self._places)


async def open_guest_processes(
    settings: EmbeddedSettings, start: StartProcess
) -> GuestProcessesBackend:
    """Start `settings.processes` of them, and wait until all serve.

    Raises:
        RunnerUnreachable: there is no folder for bundles, or one of them does not start; the
            others are ended again.
        OSError: there is no port.
    """
    try:
        await asyncio.to_thread(settings.bundle_dir.mkdir, parents=True, exist_ok=True)
    except OSError as error:
        raise RunnerUnreachable("bundle_dir_unusable") from error
    token, size = secrets.token_urlsafe(24), settings.processes
    share = replace(settings.shared(size), processes=0)
    places: list[Place] = []
    try:
        places.extend(Place(number, share, token, start) for number in range(size))
        await _open(places)
    except BaseException:
        await _close(places)
        raise
    return GuestProcessesBackend(settings, tuple(places), token)


async def _open(places: Iterable[Place]) -> None:
    for outcome in await asyncio.gather(*(each.open() for each in places), return_exceptions=True):
        if isinstance(outcome, OSError | ProcessNotStarted):
            raise RunnerUnreachable("guest_process_not_started") from outcome
        if outcome is not None:
            raise outcome


async def _close(places: Iterable[Place]) -> None:
    await asyncio.gather(*(each.aclose() for each in places))


def _busyness(place: Place) -> tuple[int, int]:
    return (place.client.stats().connections_in_use, place.turn)


_guard: type[RunnerBackend] = GuestProcessesBackend
