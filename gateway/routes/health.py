"""What orchestrators ask: alive, ready, and how much."""

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.keys import LIVE, METRICS, PROBER, STATE


async def healthz(request: web.Request) -> web.Response:
    """Alive: this process answers. Says nothing about the backend, lest it be killed for it."""
    live = request.app[LIVE]
    return json_response(
        {"status": "ok", "backend": live.served_by.kind, "generation": live.served_by.generation}
    )


async def readyz(request: web.Request) -> web.Response:
    """Ready: the current backend's last probe succeeded, and nobody asked us to stop.

    503 otherwise; traffic that comes all the same is still tried.
    """
    live, last, state = request.app[LIVE], request.app[PROBER].last, request.app[STATE]
    ready = last is not None and last.ready and not state.stopping
    return json_response(
        {
            "ready": ready,
            "stopping": state.stopping,
            "backend": live.served_by.kind,
            "generation": live.served_by.generation,
            "health": last.health.readiness.value if last else "unknown",
            "detail": last.health.detail if last else "not_probed_yet",
            "probe_age_s": round(last.age_s, 3) if last else None,
        },
        status=200 if ready else 503,
    )


async def metrics(request: web.Request) -> web.Response:
    """Prometheus text format."""
    body = generate_latest(request.app[METRICS].registry)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def json_response(document: object, *, status: int = 200) -> web.Response:
    """`document` as JSON."""
    return web.Response(
        body=orjson.dumps(document, default=str), status=status, content_type="application/json"
    )
