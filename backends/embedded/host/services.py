"""What the host functions share, opened once with the backend and closed with it."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from backends.embedded.host.app_routes import AppRoutes
from backends.embedded.host.egress import EgressClient, EgressPolicy
from backends.embedded.host.entry_store import EntryStore
from backends.embedded.host.host_api import HostApi
from backends.embedded.host.internal_client import InternalClient
from backends.embedded.host.storage_api import StorageApi
from backends.embedded.host.storage_database import StorageDatabase
from backends.settings import EmbeddedSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class HostServices:
    """Shared by every call of one backend; the clients belong to `loop`."""

    loop: asyncio.AbstractEventLoop
    storage: EntryStore
    egress: EgressClient
    host_api: HostApi | None  # None: no host application is configured
    ui_proxy: AppRoutes | None
    _undo: AsyncExitStack = field(repr=False)

    async def aclose(self) -> None:
        """Give everything back; calls that still run are answered with failures. Safe twice."""
        await self._undo.aclose()


async def open_services(settings: EmbeddedSettings) -> HostServices:
    """Open what every call shares, on the running loop.

    Raises:
        OSError: the storage cannot be opened.
        ValueError: the egress allow-list has an entry that is not a host name.
    """
    undo = AsyncExitStack()
    try:
        internal = InternalClient()
        undo.push_async_callback(internal.aclose)
        host_api = _open_host_api(settings, internal)
        storage = await _open_storage(settings, host_api, undo)
        egress = EgressClient(EgressPolicy(settings.egress_allowlist))
        undo.push_async_callback(egress.aclose)
    except BaseException:
        await undo.aclose()
        raise
    return HostServices(
        loop=asyncio.get_running_loop(),
        storage=storage,
        egress=egress,
        host_api=host_api,
        ui_proxy=_open_ui_proxy(settings, internal),
        _undo=undo,
    )


def _open_host_api(settings: EmbeddedSettings, client: InternalClient) -> HostApi | None:
    if settings.host_api is None:
        return None
    return HostApi(settings.host_api, client, asyncio.get_running_loop())


async def _open_storage(
    settings: EmbeddedSettings, host_api: HostApi | None, undo: AsyncExitStack
) -> EntryStore:
    """The application's when there is one: a file would be seen by this machine alone."""
    if host_api is not None:
        return StorageApi(host_api)
    database = await asyncio.to_thread(StorageDatabase.open, settings.bundle_dir)
    undo.push_async_callback(asyncio.to_thread, database.close)
    return database


def _open_ui_proxy(settings: EmbeddedSettings, client: InternalClient) -> AppRoutes | None:
    if settings.ui_proxy_base_url is None:
        return None
    return AppRoutes(settings.ui_proxy_base_url, settings.ui_proxy_timeout_s, client)
