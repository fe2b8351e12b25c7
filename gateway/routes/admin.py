"""What operators ask: who answers, what was swapped, and swap now."""

from aiohttp import web

from gateway.console.together import draining
from gateway.fleet import answers
from gateway.keys import FLEET, LIVE, RECEIPTS, RELOADER
from gateway.routes.json_response import json_response
from middleware.errors import InvalidRequest

_TRUE = frozenset({"true", "1", "yes"})
_FALSE = frozenset({"false", "0", "no"})


async def backend(request: web.Request) -> web.Response:
    """Identity, health (asked now) and metadata of the current backend; each worker's too."""
    fleet = request.app[FLEET]
    reports = await fleet.reports("probed")
    said = answers(reports)
    metadata = await request.app[LIVE].slot.current.backend.metadata()
    document = {
        **said[0],
        "in_flight": sum(each["in_flight"] for each in said),
        "metadata": dict(metadata),
    }
    if fleet.size > 1:
        document["workers"] = [each.facts() | (each.said or {}) for each in reports]
    return json_response(document)


async def generations(request: web.Request) -> web.Response:
    """The current generation, those still draining, and the last receipts, newest first."""
    reports = await request.app[FLEET].reports("generations")
    said = answers(reports)
    running = sum(each["current"]["in_flight"] for each in said)
    return json_response(
        {
            "current": said[0]["current"] | {"in_flight": running},
            "draining": draining(each["draining"] for each in said),
            "receipts": request.app[RECEIPTS].newest_first(),
        }
    )


async def reload(request: web.Request) -> web.Response:
    """SIGHUP with a reply; `?plan=true` goes as far as the probe and changes nothing.

    200 with the receipt, whatever became of it but a refusal: that is 409.
    """
    word = request.query.get("plan", "false").lower()  # a bare ?plan is not read as "no"
    if word not in _TRUE | _FALSE:
        raise InvalidRequest("not_a_boolean", field="plan")
    receipt = await request.app[RELOADER].reload(plan=word in _TRUE, trigger="admin")
    return json_response(receipt.as_json(), status=409 if receipt.outcome == "refused" else 200)
