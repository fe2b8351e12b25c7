"""What an application carries. The console's own key lives with the console; what a request
carries is listed beside the middleware that puts it there."""

from collections.abc import Callable, Iterable

from aiohttp import web

from gateway.asset_cache.cache import AssetCache
from gateway.callers.ui_tenants import UiTenants
from gateway.fast_path.path import FastPath
from gateway.fleet import Fleet
from gateway.generations.live import Live, LiveRef
from gateway.generations.probe import Prober
from gateway.generations.receipts import Receipts
from gateway.http.places import Places
from gateway.reload import Reloading
from gateway.state import State
from middleware.load_shed import InFlight
from middleware.metrics import Metrics

LIVE = web.AppKey("live", Live)
LIVE_REF = web.AppKey("live_ref", LiveRef)
PROBER = web.AppKey("prober", Prober)
RECEIPTS = web.AppKey("receipts", Receipts)
RELOADER = web.AppKey("reloader", Reloading)
FLEET = web.AppKey("fleet", Fleet)
METRICS = web.AppKey("metrics", Metrics)
IN_FLIGHT = web.AppKey("in_flight", InFlight)
ASSET_CACHE = web.AppKey("asset_cache", AssetCache)
UI_TENANTS = web.AppKey("ui_tenants", UiTenants)
UI_WATCHERS = web.AppKey("ui_watchers", Places)
STATE = web.AppKey("state", State)
FAST_PATH = web.AppKey("fast_path", FastPath)
LINES_DROPPED: web.AppKey[Callable[[], int]] = web.AppKey("lines_dropped")
"""How many log lines found no room."""
SHORT_WAY: web.AppKey[Iterable[str]] = web.AppKey("short_way")
"""Templates of the routes that need no router."""
