"""The backend that needs nothing installed: extensions run in this very process."""

import asyncio
import errno
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Self

import structlog

from backends.bundles import capabilities
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
    Limits,
    Readiness,
    RunnerBackend,
)
from backends.embedded.assets import AssetFiles
from backends.embedded.compiled_cache import CompiledCache
from backends.embedded.engine import EngineFailed, WasmEngine
from backends.embedded.failures import GuestFailed
from backends.embedded.guest_pool import GuestPool
from backends.embedded.guests import Guest, Guests
from backends.embedded.host.call import Call
from backends.embedded.host.secrets import SecretsUnreadable, open_secrets
from backends.embedded.host.services import HostServices, open_services
from backends.embedded.host.table import HOST_FUNCTIONS
from backends.embedded.idempotency import IdempotentRuns
from backends.embedded.linking import HostTable
from backends.errors import (
    BackendError,
    Phase,
    RunnerRefusedSize,
    RunnerTimeout,
    RunnerUnreachable,
)
from backends.settings import EmbeddedSettings
from backends.ui_url import build_ui_url

_MAX_REQUEST_BODY_BYTES = 16 * 1_048_576
"""The engine holds each byte of a body in 32 bytes while it moves it into the guest."""

_PROBE_TIMEOUT_S = 5.0
_CLOSE_TIMEOUT_S = 5.0
_log = structlog.get_logger()


class EmbeddedBackend:
    """A RunnerBackend without a runner. Open it with `open`, on the loop that will use it."""

    identity = BackendIdentity(kind=BackendKind.EMBEDDED, name="in-process")

    def __init__(
        self,
        settings: EmbeddedSettings,
        engine: WasmEngine,
        services: HostServices,
        host_functions: HostTable,
    ) -> None:
        bundles = BundleStore(settings.bundle_dir)
        compiled = CompiledCache(settings.bundle_dir / "compiled", engine)
        self._settings = settings
        self._engine = engine
        self._services = services
        self._guests = Guests(
            engine,
            bundles,
            compiled,
            host_functions,
            compile_memory_mb=settings.compile_memory_mb,
            max_waiting=settings.max_concurrency + settings.max_queue,
        )
        self._pool = GuestPool(
            max_concurrency=settings.max_concurrency, max_queue=settings.max_queue
        )
        self._idempotent = IdempotentRuns()
        self._assets = AssetFiles.of(bundles, settings)

    @classmethod
    async def open(
        cls, settings: EmbeddedSettings, *, host_functions: HostTable = HOST_FUNCTIONS
    ) -> Self:
        """Start the engine and what the host functions need.

        Raises:
            RunnerUnreachable: the engine does not work here, or the folder cannot be
                used, or the egress allow-list is malformed, or there are no threads.
        """
        try:
            await asyncio.to_thread(settings.bundle_dir.mkdir, parents=True, exist_ok=True)
            engine = await asyncio.to_thread(WasmEngine, max_guests=settings.max_concurrency)
        except OSError as error:
            raise RunnerUnreachable("bundle_dir_unusable") from error
        except EngineFailed as error:
            _log.error("engine_not_started", detail=str(error)[:500])
            raise RunnerUnreachable("engine_init_failed") from error
        except RuntimeError as none_left:  # for the engine's clock
            raise RunnerUnreachable("no_threads", phase=Phase.ADMIT) from none_left
        async with AsyncExitStack() as undo:
            undo.callback(engine.close)
            try:
                services = await open_services(settings)
            except OSError as error:
                raise RunnerUnreachable("bundle_dir_unusable") from error
            except ValueError as error:
                raise RunnerUnreachable("host_services_unusable") from error
            undo.push_async_callback(services.aclose)
            try:
                backend = cls(settings, engine, services, host_functions)
            except RuntimeError as none_left:
                raise RunnerUnreachable("no_threads", phase=Phase.ADMIT) from none_left
            undo.pop_all()
        return backend

    async def execute(self, request: ExecuteRequest, /) -> ExecuteResult:
        """Run the handler; see RunnerBackend.

        Raises:
            RunnerOverloaded: the queue is full, or no thread became free in time.
            RunnerTimeout: the bundle was not ready in time.
            RunnerRefusedSize: the request's body is larger than the engine can take in.
            RunnerUnreachable, RunnerProtocolError: the backend is closed, or was meanwhile.
        """
        if request.body is not None and len(request.body) > _MAX_REQUEST_BODY_BYTES:
            raise RunnerRefusedSize("request_body_too_large", phase=Phase.ADMIT)
        return await self._idempotent.run(request, lambda: self._execute(request))

    async def _execute(self, request: ExecuteRequest) -> ExecuteResult:
        until = time.monotonic() + request.timeout_s
        try:
            guest = await self._guest(request)  # waits in a line of its own: it may be compiled
            with self._pool.place():
                return await self._run(guest, request, until)
        except GuestFailed as failure:
            _log.warning(
                "guest_failed",
                request_id=request.request_id,
                tenant=request.context.tenant_id,
                extension=request.context.extension_id,
                error=failure.error,
                detail=failure.detail,
            )
            return ExecuteResult(status=failure.status, error=failure.error)

    async def _run(self, guest: Guest, request: ExecuteRequest, until: float) -> ExecuteResult:
        if unknown := capabilities.unknown(request.providers):
            names = ", ".join(map(ascii, sorted(unknown)))
            raise GuestFailed("unknown_capabilities", names, status=400)
        granted = capabilities.effective(guest.declared, request.providers)
        try:
            secrets = open_secrets(request.secret_envelope)
        except SecretsUnreadable as error:
            raise GuestFailed("secret_decrypt_failed", error.reason) from None

        def call(deadline: float) -> Call:
            return Call(request, granted, deadline, self._services, secrets)

        return await self._pool.run(
            guest.prepared,
            call,
            until=until,
            limit_s=request.limits.timeout_ms / 1_000,
            memory_mb=self._memory_mb(request.limits),
        )

    def _memory_mb(self, limits: Limits) -> int:
        allowed = self._settings.memory_mb
        return max(1, min(limits.memory_mb or allowed, allowed))  # negative: no limit at all

    async def _guest(self, request: ExecuteRequest) -> Guest:
        content_hash = request.context.content_hash
        if (known := self._guests.known(content_hash)) is not None:
            return known  # without a timer, which costs more than the look
        try:
            async with asyncio.timeout(request.timeout_s):
                return await self._guests.get(content_hash)
        except TimeoutError:
            raise RunnerTimeout(phase=Phase.ADMIT, budget_s=request.timeout_s) from None

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
        return build_ui_url(
            self._settings.public_base,
            extension_id,
            content_hash,
            client_path,
            tenant_id=tenant_id,
        )

    async def health(self) -> BackendHealth:
        """Instantiate an empty component and write to the bundle folder. Never raises."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                detail = await asyncio.to_thread(self._probe)
        except TimeoutError:
            detail = "probe_timeout"
        if self._pool.closed:
            detail = "closed"
        return BackendHealth(
            readiness=Readiness.DOWN if detail else Readiness.READY,
            detail=detail,
            latency_ms=(time.monotonic() - started) * 1_000,
            facts=self._load(),
        )

    def _probe(self) -> str:
        try:
            self._engine.probe()
            with tempfile.TemporaryFile(dir=self._settings.bundle_dir):
                return ""
        except EngineFailed:
            return "engine_init_failed"
        except OSError as error:
            is_full = error.errno in (errno.EMFILE, errno.ENFILE)
            return "open_files_exhausted" if is_full else "bundle_dir_not_writable"

    def _load(self) -> dict[str, object]:
        return {
            "running": self._pool.running,
            "calls": self._pool.calls,
            "cached_components": len(self._guests),
        }

    async def metadata(self) -> Mapping[str, object]:
        """The engine, its limits and its load. No absolute paths."""
        return {
            "engine": f"wasmtime {self._engine.version}",
            **self._settings.facts(),
            **self._load(),
        }

    def stats(self) -> BackendStats:
        return BackendStats()  # nothing is dialled, so nothing is pooled or sent again

    async def warm(self, content_hash: str, /) -> None:
        """Compile the bundle's component ahead of its first call. Never raises."""
        try:
            await self._guests.get(content_hash)
        except GuestFailed as failure:
            _log.warning(
                "bundle_not_warmed",
                content_hash=content_hash,
                error=failure.error,
                detail=failure.detail,
            )
        except BackendError as failure:
            _log.warning("bundle_not_warmed", content_hash=content_hash, error=failure.reason)

    def page_fetched(self, page: AssetRequest, /) -> None:
        """Nothing: installed bundles were compiled when the process started."""

    async def aclose(self) -> None:
        """Interrupt the guests, wait for their threads within a bound, and release the rest."""
        await self._pool.aclose(_CLOSE_TIMEOUT_S)
        await self._idempotent.aclose()
        await self._guests.aclose()
        await asyncio.to_thread(self._engine.close)
        await self._services.aclose()


_guard: type[RunnerBackend] = EmbeddedBackend
