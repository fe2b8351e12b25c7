"""What orchestrators ask: alive, ready, and how much."""

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.fleet import Report, answers
from gateway.keys import FLEET, LIVE
from gateway.metric_sums import added_up, as_text
from gateway.routes.json_response import json_response
from middleware.errors import Overloaded


async def healthz(request: web.Request) -> web.Response:
    """Alive: this process answers. Says nothing about the backend, lest it be killed for it."""
    live = request.app[LIVE]
    return json_response(
        {"status": "ok", "backend": live.served_by.kind, "generation": live.served_by.generation}
    )


async def readyz(request: web.Request) -> web.Response:
    """Ready: the current backend's last probe succeeded, and nobody asked us to stop.

    503 otherwise; traffic that comes all the same is still tried. Of several workers each must
    be ready and is listed. One that does not answer in time is not; an empty place, whose
    worker is being started again, is served by the others meanwhile and counts for nothing.
    """
    fleet = request.app[FLEET]
    reports = await fleet.reports("ready")
    said = answers(reports)
    shown = next((one for one in said if not one["ready"]), said[0])
    ready = all(each.is_vacant or _is_ready(each) for each in reports)
    document = shown | {"ready": ready}
    if fleet.size > 1:
        document["workers"] = [each.facts() | {"ready": _is_ready(each)} for each in reports]
    return json_response(document, status=200 if ready else 503)


def _is_ready(report: Report) -> bool:
    return not report.is_missing and bool(report.said["ready"])


async def metrics(request: web.Request) -> web.Response:
    """Prometheus text format; of all workers together, whichever of them is asked.

    503 when the supervisor, who knows the sums, does not answer: a part of them would look as
    if everything had begun to count anew.
    """
    reports = await request.app[FLEET].reports("metrics")
    if any(each.is_missing for each in reports):
        raise Overloaded(retry_after_s=1, reason="workers_not_asked")
    families = answers(reports)
    body = as_text(families[0] if len(families) == 1 else added_up(*families))
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
