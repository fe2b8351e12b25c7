"""Puts the parts together: the only module that knows all three packages."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

import structlog
from aiohttp import web

from backends.slot import Slot
from gateway import pipeline
from gateway.asset_cache.cache import AssetCache
from gateway.backend_opening import backend_of
from gateway.callers.auth import CallerAuth, caller_auth
from gateway.callers.jwt_key_fetching import KeysNotFetched
from gateway.callers.ui_tenants import UiTenants
from gateway.collector import GatewayCollector
from gateway.console.setup import add_console
from gateway.fleet import Fleet, FleetOfOne
from gateway.generations.live import Live, LiveRef
from gateway.generations.probe import Prober
from gateway.generations.receipts import Receipts
from gateway.generations.swap import Openers, Swapper
from gateway.generations.warming import warm
from gateway.http.places import Places
from gateway.http.static_files import STATIC, add_files
from gateway.installs.factory import open_installs
from gateway.keys import (
    ASSET_CACHE,
    FLEET,
    IN_FLIGHT,
    LINES_DROPPED,
    LIVE,
    LIVE_REF,
    METRICS,
    PROBER,
    RECEIPTS,
    RELOADER,
    SHORT_WAY,
    STATE,
    UI_TENANTS,
    UI_WATCHERS,
)
from gateway.reports import UI_TENANT, report
from gateway.routes import console
from gateway.routes.table import GATEWAY_ROUTES, Route, mount
from gateway.settings import Settings
from gateway.state import State
from gateway.ui_reload import MAX_WATCHERS
from middleware.access_log import TOGETHER, Sink, through_structlog
from middleware.load_shed import InFlight
from middleware.metrics import Metrics

_log = structlog.get_logger("app")


OPENERS = Openers(backend=backend_of, installs=open_installs)


def create_app(
    settings: Settings,
    *,
    load: Callable[[], Settings],
    on_commit: Callable[[Settings], None] = lambda _: None,
    access_sink: Sink = through_structlog,
    openers: Openers = OPENERS,
    routes: Sequence[Route] = GATEWAY_ROUTES,
    fleet: Fleet | None = None,
    lines_dropped: Callable[[], int] = lambda: 0,
) -> web.Application:
    """A gateway ready to run; nothing is opened until it starts.

    Args:
        load: reads the settings anew for a reload; raises SettingsError.
        on_commit: told the settings that a reload has switched to.
        access_sink: takes the lines of all requests, some at a time.
        fleet: the processes that this one serves the port with; None: it serves alone.
        lines_dropped: how many log lines found no room.
    """
    app = web.Application(client_max_size=settings.max_body_bytes)
    app[STATE] = State()
    app[LIVE_REF] = LiveRef()
    app[METRICS] = Metrics()
    app[METRICS].registry.register(GatewayCollector(app))
    fleet = app[FLEET] = fleet or FleetOfOne(partial(report, app))
    app[LINES_DROPPED] = lines_dropped
    app[IN_FLIGHT] = InFlight()
    app[UI_TENANTS] = UiTenants(
        settings.variables.gateway_proxy_key, on_remembered=partial(fleet.tell, UI_TENANT)
    )
    app[UI_WATCHERS] = Places(MAX_WATCHERS, retry_after_s=5, reason="too_many_pages_watching")
    cache = app[ASSET_CACHE] = AssetCache(
        max_bytes=settings.asset_cache_bytes, folder=settings.asset_cache_dir
    )

    def commit(committed: Settings) -> None:
        # In the switch itself: what was granted under the old backend no longer counts.
        app[UI_TENANTS].follow(committed.variables.gateway_proxy_key)
        cache.reconfigure(max_bytes=committed.asset_cache_bytes, folder=committed.asset_cache_dir)
        on_commit(committed)

    async def lifetime(app: web.Application) -> AsyncIterator[None]:
        backend = await openers.backend(settings)
        try:
            auth = await _started(caller_auth(settings.auth))
        except BaseException:  # told to stop, before it has begun
            await backend.aclose()
            raise
        slot = Slot(backend, first=fleet.generation)
        live = Live(settings, slot, openers.installs(settings), auth)
        app[LIVE] = app[LIVE_REF].now = live
        prober = app[PROBER] = Prober(slot, interval_s=settings.probe_interval_s)
        receipts = app[RECEIPTS] = Receipts()
        swapper = Swapper(live, prober, openers, on_commit=commit)
        reloader = app[RELOADER] = fleet.reloading(swapper, receipts, load)
        warming = asyncio.create_task(warm(slot.current.backend, live.installs), name="warming")
        cache.try_out()
        async with prober.running():
            yield
        warming.cancel()
        await asyncio.wait([warming])
        await reloader.aclose()
        await swapper.aclose()
        await cache.aclose()
        await live.installs.aclose()
        await live.auth.aclose()
        await slot.aclose(within_s=0)  # the server has waited for the calls already

    app.cleanup_ctx.append(lifetime)
    access_of = mount(app, routes)
    app[SHORT_WAY] = tuple(route.path for route in routes)
    add_files(app, "/gateway/problems", STATIC / "problems", index="index.html")
    together = 1 if access_sink is through_structlog else TOGETHER
    if any(route.handler is console.page for route in routes):
        access_sink = add_console(app, access_sink)
    pipeline.install(app, routes, access_of, access_sink, together=together)
    return app


async def _started(auth: CallerAuth) -> CallerAuth:
    try:
        await auth.start()
    except KeysNotFetched as why:
        # The identity provider may start after us; its callers are told to come back.
        _log.warning("caller_keys_unavailable", reason=why.reason, kept=False)
    except BaseException:
        await auth.aclose()
        raise
    return auth
