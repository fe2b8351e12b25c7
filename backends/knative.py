"""A runner behind an ingress that many services share: told apart by Host, guarded by a token."""

import asyncio
from typing import Final
from urllib.parse import urlsplit

import structlog

from backends.contract import AssetRequest, BackendIdentity, BackendKind
from backends.errors import RunnerUnreachable
from backends.knative_path.cluster import Cluster, import_client
from backends.knative_path.cold_figures import ColdFigures
from backends.knative_path.cold_start import ColdStart
from backends.knative_path.door import Door
from backends.knative_path.path import KnativePath
from backends.knative_path.serving import ServingReader
from backends.knative_path.tls import client_context
from backends.knative_path.token import ServiceToken
from backends.remote import Reach, RemoteBackend
from backends.settings import KnativeSettings
from backends.upstream.address import RunnerAddress
from backends.upstream.open import open_transport
from backends.upstream.runner_client import RunnerClient
from backends.upstream.transport import Transport

_PROBE_PATH: Final = "/healthz"
_log = structlog.get_logger("backends.knative")


class KnativeBackend(RemoteBackend):
    """The runner protocol through an ingress."""

    def __init__(
        self, reach: Reach, settings: KnativeSettings, address: RunnerAddress, *, host: str | None
    ) -> None:
        super().__init__(
            reach,
            BackendIdentity(kind=BackendKind.KNATIVE, name=address.origin),
            public_base=settings.public_base,
            facts={"host": host, "token": "file" if settings.token_file else "none"},
        )

    def page_fetched(self, page: AssetRequest, /) -> None:
        """Warm the handler of this page's extension, when the settings say so."""
        if isinstance(self._reach, KnativePath):
            self._reach.page_fetched(page)


async def open_knative(settings: KnativeSettings) -> KnativeBackend:
    """A backend with an empty pool of its own; the runner is not dialled yet.

    Raises:
        ValueError: the base URL is no base URL of a runner, the host is no host, or a TLS file
            is not usable.
        RunnerUnreachable: the Serving API does not say where the service is, and no host was
            given to do without it; the log says why.
    """
    address = RunnerAddress.parse(settings.base_url)
    tls = await asyncio.to_thread(client_context, settings.tls)
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
