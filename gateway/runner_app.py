"""`python -m gateway runner`: the embedded backend behind the runner protocol.

So that a second process or a container can be the runner of a gateway that is set to
`docker` or `knative`. It is the gateway's own application with a runner's routes: the same
pipeline, limits, logs and errors.
"""

import sys
from collections.abc import Mapping
from dataclasses import replace

from aiohttp import web

from backends.contract import Readiness
from gateway.app import create_app
from gateway.ignored_variables import Ignored
from gateway.keys import LIVE
from gateway.logs.process import ProcessLogs
from gateway.process.serve import Alone, run
from gateway.process.welcome import say
from gateway.routes import runner_api
from gateway.routes.health import metrics, readyz
from gateway.routes.json_response import json_response
from gateway.routes.table import RUNNER_ROUTES, Access, Route
from gateway.settings import Settings, load


async def healthz(request: web.Request) -> web.Response:
    """What the runner protocol says of health; 503 when no extension could be run."""
    health = await request.app[LIVE].slot.current.backend.health()
    return json_response(
        {
            "cache_writable": health.detail != "bundle_dir_not_writable",
            "bundle_store": "ok",
            "ext_cache_max_bytes": None,
        },
        status=200 if health.readiness is Readiness.READY else 503,
    )


ROUTES = (
    *RUNNER_ROUTES,
    Route("POST", "/warmup", runner_api.warmup, Access.SERVICE),
    Route("GET", "/healthz", healthz, Access.PUBLIC),
    Route("GET", "/readyz", readyz, Access.PUBLIC),
    Route("GET", "/metrics", metrics, Access.PUBLIC),
)


def runner_settings(settings: Settings, *, host: str, port: int) -> Settings:
    """The same settings for a process that is a runner, listening on `host` and `port`."""
    return replace(
        settings,
        backend=settings.embedded,
        unused=(),  # a runner's callers are known by the service token alone
        listen=replace(settings.listen, host=host, port=port, said_by=("--host", "PORT")),
    )


def run_runner(settings: Settings, environ: Mapping[str, str], *, host: str, port: int) -> int:
    """Serve the runner protocol until SIGTERM or SIGINT. Blocks; returns the exit status."""
    own = runner_settings(settings, host=host, port=port)
    logs = ProcessLogs(own, sys.stderr.fileno())
    Ignored().loaded(own)
    app = create_app(
        own,
        load=lambda: runner_settings(load(environ), host=host, port=port),
        on_commit=logs.follow,
        access_sink=logs.access,
        routes=ROUTES,
    )
    return run(app, own, logs, Alone(own, environ, _announce))


async def _announce(origin: str, _settings: Settings, _app: web.Application) -> None:
    say(f"Extension runner on {origin}\n")
