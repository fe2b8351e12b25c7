"""A runner behind an ingress that many services share: told apart by Host, guarded by a token."""

from collections.abc import Mapping
from typing import Final, Protocol
from urllib.parse import urlsplit

import structlog

from backends.contract import (
    AssetRequest,
    AssetResponse,
    BackendHealth,
    BackendIdentity,
    BackendKind,
    BackendStats,
    ExecuteRequest,
    ExecuteResult,
    RunnerBackend,
)
from backends.errors import RunnerUnreachable
from backends.knative_path.cluster import Cluster, import_client
from backends.knative_path.cold_figures import ColdFigures
from backends.knative_path.cold_start import ColdStart
from backends.knative_path.door import Door
from backends.knative_path.path import KnativePath
from backends.knative_path.serving import ServingReader
from backends.knative_path.tls import client_context
from backends.knative_path.token import ServiceToken
from backends.knock import Knocks
from backends.prompt import PromptBackend, Told, Withdraw
from backends.settings import KnativeSettings
from backends.ui_url import build_ui_url
from backends.upstream.address import RunnerAddress
from backends.upstream.open import open_transport
from backends.upstream.runner_client import RunnerClient
from backends.upstream.transport import Transport

_PROBE_PATH: Final = "/healthz"
_log = structlog.get_logger("backends.knative")


class Reach(Protocol):
    """The way to a runner: a RunnerClient, or a KnativePath in front of one."""

    async def execute(self, request: ExecuteRequest) -> ExecuteResult: ...
    async def fetch_asset(self, request: AssetRequest) -> AssetResponse: ...
    def begin_execute(
        self, request: ExecuteRequest, told: Told[ExecuteResult]
    ) -> Withdraw | None: ...
    def begin_asset(self, request: AssetRequest, told: Told[AssetResponse]) -> Withdraw | None: ...
    async def knock(self, service_token: str | None, *, timeout_s: float) -> None: ...
    async def health(self) -> BackendHealth: ...
    def stats(self) -> BackendStats: ...
    def facts(self) -> dict[str, object]: ...
    async def aclose(self) -> None: ...


class KnativeBackend:
    """The runner protocol through an ingress."""

    def __init__(
        self, reach: Reach, settings: KnativeSettings, address: RunnerAddress, *, host: str | None
    ) -> None:
        self._reach = reach
        self._settings = settings
        self._host = host
        self.identity = BackendIdentity(kind=BackendKind.KNATIVE, name=address.origin)

    async def execute(self, request: ExecuteRequest, /) -> ExecuteResult:
        return await self._reach.execute(request)

    async def fetch_asset(self, request: AssetRequest, /) -> AssetResponse:
        return await self._reach.fetch_asset(request)

    def begin_execute(
        self, request: ExecuteRequest, told: Told[ExecuteResult], /
    ) -> Withdraw | None:
        return self._reach.begin_execute(request, told)

    def begin_asset(self, request: AssetRequest, told: Told[AssetResponse], /) -> Withdraw | None:
        return self._reach.begin_asset(request, told)

    def resolve_ui_url(
        self,
        extension_id: str,
        content_hash: str,
        client_path: str = "/",
        *,
        tenant_id: str | None = None,
    ) -> str:
        return build_ui_url(
            self._settings.public_base, extension_id, content_hash, client_path, tenant_id=tenant_id
        )

    async def knock(self, service_token: str | None, /, *, timeout_s: float) -> None:
        await self._reach.knock(service_token, timeout_s=timeout_s)

    async def health(self) -> BackendHealth:
        return await self._reach.health()

    async def metadata(self) -> Mapping[str, object]:
        return {
            "kind": self.identity.kind,
            "host": self._host,
            "token": "file" if self._settings.token_file else "none",
            **self._reach.facts(),
        }

    def stats(self) -> BackendStats:
        return self._reach.stats()

    async def warm(self, content_hash: str, /) -> None:
        """Nothing: the runner protocol cannot warm a bundle without its tenant."""

    def page_fetched(self, page: AssetRequest, /) -> None:
        """Warm the handler of this page's extension, when the settings say so."""
        if isinstance(self._reach, KnativePath):
            self._reach.page_fetched(page)

    async def aclose(self) -> None:
        await self._reach.aclose()


async def open_knative(settings: KnativeSettings) -> KnativeBackend:
    """A backend with an empty pool of its own; the runner is not dialled yet.

    Raises:
        ValueError: the base URL is no base URL of a runner, the host is no host, or a TLS file
            is not usable.
        RunnerUnreachable: the Serving API does not say where the service is, and no host was
            given to do without it; the log says why.
    """
    address = RunnerAddress.parse(settings.base_url)
    tls = client_context(settings.tls)
    given = _virtual(address, settings.host)
    serving = await _open_serving(settings)
    try:
        virtual = given or _virtual(address, _told_host(serving))
        if settings.serving is not None and virtual is None:
            named = f"{settings.serving.namespace}/{settings.serving.service}"
            why = LookupError(f"{named} is not there, or has no status.url yet")
            raise RunnerUnreachable("service_has_no_address") from why  # noqa: TRY301
    except BaseException:
        if serving is not None:
            await serving.aclose()
        raise
    transport = open_transport(
        address, server_hostname=virtual.hostname if virtual else None, tls=tls
    )
    host = virtual.authority if virtual else None
    reach = _reach(settings, address, transport, serving, host)
    return KnativeBackend(reach, settings, address, host=settings.host or host)


def _reach(
    settings: KnativeSettings,
    address: RunnerAddress,
    transport: Transport,
    serving: ServingReader | None,
    host: str | None,
) -> Reach:
    token = (
        ServiceToken(settings.token_file, audience=settings.token_audience)
        if settings.token_file
        else None
    )

    def client(through: Transport) -> RunnerClient:
        return RunnerClient(
            through, address, public_base=settings.public_base, timeouts=settings.timeouts
        )

    if host is None and settings.cold_start_s is None:
        return client(transport if token is None else Door(transport, host=None, token=token))
    figures = ColdFigures()
    cold_start = ColdStart(
        transport,
        budget_s=settings.cold_start_s or 0.0,
        state=lambda: None if serving is None else serving.state,
        figures=figures,
    )
    return KnativePath(
        client(Door(cold_start, host=host, token=token)),
        cold_start=cold_start,
        figures=figures,
        door=Door(transport, host=host, token=token),
        target=address.base_path + _PROBE_PATH,
        serving=serving,
        warm_on_page=settings.warm_on_page,
        quiet_probe=serving is not None or settings.cold_start_s is not None,
    )


def _virtual(address: RunnerAddress, host: str | None) -> RunnerAddress | None:
    # A Host goes through the same check as the base URL: it becomes a header field.
    if host is None:
        return None
    virtual = RunnerAddress.parse(f"{address.scheme}://{host}")
    if virtual.base_path:
        raise ValueError("the runner's host must be host[:port]")
    return virtual


async def _open_serving(settings: KnativeSettings) -> ServingReader | None:
    api = settings.serving
    if api is None:
        return None
    await import_client()
    serving = ServingReader(lambda: Cluster.open(api), api.service)
    try:
        await serving.start()
    except OSError as unread:
        _log.warning("serving_api_unread", error=str(unread))
        if settings.host is None:
            await serving.aclose()
            raise RunnerUnreachable("serving_api_unread") from unread
    except BaseException:
        await serving.aclose()
        raise
    return serving


def _told_host(serving: ServingReader | None) -> str | None:
    url = serving.state.url if serving is not None else None
    return urlsplit(url).netloc or None if url else None


_guard: type[RunnerBackend] = KnativeBackend
_prompt_guard: type[PromptBackend] = KnativeBackend
_knock_guard: type[Knocks] = KnativeBackend
