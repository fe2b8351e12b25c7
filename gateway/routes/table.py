"""What answers where, and for whom: the whole surface on one page."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from aiohttp import web

from gateway.fast_path.parts import Early, Prompt
from gateway.routes import (
    admin,
    assets,
    console,
    execute,
    health,
    logs,
    runner_api,
    ui_reload,
    ui_url,
)
from gateway.ui_reload import FOLDER, SCRIPT
from middleware.body_limit import no_continue_yet

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Access(Enum):
    """Who may use a route."""

    PUBLIC = "public"
    CALLER = "caller"  # a known caller
    BROWSER = "browser"  # anyone; a known caller counts
    SERVICE = "service"  # who knows the service token; the handler checks
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    handler: Handler
    access: Access
    fast: bool = False  # its requests may take the fast path
    early: Early | None = None  # and may be answered before it waits for anything
    prompt: Prompt | None = None  # and may be handled without a task


_ASSET = "ext-ui/{extension}/{content_hash}/{path:.*}"

_ENVELOPE = Route(
    "POST",
    "/v1/execute",
    runner_api.execute_envelope,
    Access.SERVICE,
    fast=True,
    prompt=runner_api.prompt_execute_envelope,
)

RUNNER_ROUTES: tuple[Route, ...] = (
    _ENVELOPE,
    Route("GET", f"/{_ASSET}", assets.runner_asset, Access.SERVICE, fast=True),
)
"""What a runner answers; its /healthz is its own."""

GATEWAY_ROUTES: tuple[Route, ...] = (
    *(
        Route(
            "*",
            f"/api/{door}/{{extension}}{path}",
            execute.execute,
            Access.CALLER,
            fast=True,
            prompt=execute.prompt_execute,
        )
        for door in ("ext", "ext-proxy")
        for path in ("", "/{path:.*}")
    ),
    *(
        Route(
            "GET",
            path,
            assets.asset,
            Access.BROWSER,
            fast=True,
            early=assets.early_asset,
            prompt=assets.prompt_asset,
        )
        for path in (f"/runner/{_ASSET}", f"/{_ASSET}")
    ),
    _ENVELOPE,
    *(
        Route("GET", f"{before}/{FOLDER}/{path}", handler, Access.BROWSER)
        for before in ("/runner", "")
        for path, handler in (
            (SCRIPT, ui_reload.script),
            ("{extension}/{content_hash}/changes", ui_reload.changes),
        )
    ),
    Route("GET", "/gateway/v1/extensions/{extension}/ui-url", ui_url.ui_url, Access.CALLER),
    Route("GET", "/gateway/v1/backend", admin.backend, Access.ADMIN),
    Route("GET", "/gateway/v1/generations", admin.generations, Access.ADMIN),
    Route("POST", "/gateway/v1/reload", admin.reload, Access.ADMIN),
    Route("GET", "/gateway/v1/logs", logs.logs, Access.ADMIN),
    Route("*", "/", console.root, Access.PUBLIC),
    Route("GET", "/gateway/", console.page, Access.PUBLIC),
    Route("GET", "/gateway/v1/console/snapshot", console.snapshot, Access.ADMIN),
    Route("GET", "/gateway/v1/console/live", console.live, Access.ADMIN),
    Route("GET", "/gateway/v1/console/lines", console.lines, Access.ADMIN),
    Route("GET", "/healthz", health.healthz, Access.PUBLIC),
    Route("GET", "/readyz", health.readyz, Access.PUBLIC),
    Route("GET", "/metrics", health.metrics, Access.PUBLIC),
)


def mount(app: web.Application, routes: Iterable[Route]) -> "AccessOf":
    """Register `routes`; GET answers HEAD too. Returns who may use what."""
    access: dict[web.AbstractRoute, Access] = {}
    for route in routes:
        methods = ("GET", "HEAD") if route.method == "GET" else (route.method,)
        resource = app.router.add_resource(route.path)
        for method in methods:
            added = resource.add_route(method, route.handler, expect_handler=no_continue_yet)
            access[added] = route.access
    return AccessOf(access)


class AccessOf:
    """Looks up the access of the route that a request matched; what matched none is public."""

    def __init__(self, access: Mapping[web.AbstractRoute, Access]) -> None:
        self._access = access

    def __call__(self, request: web.Request) -> Access:
        return self._access.get(request.match_info.route, Access.PUBLIC)
