"""What operators ask: who answers, what was swapped, and swap now."""

from aiohttp import web

from backends.slot import Generation
from gateway.keys import LIVE, PROBER, RECEIPTS, RELOADER
from gateway.routes.health import json_response
from middleware.errors import InvalidRequest

_TRUE = frozenset({"true", "1", "yes"})
_FALSE = frozenset({"false", "0", "no", ""})


async def backend(request: web.Request) -> web.Response:
    """Identity, health (asked now) and metadata of the current backend."""
    generation = request.app[LIVE].slot.current
    probe = await request.app[PROBER].probe_now()
    metadata = await generation.backend.metadata()
    return json_response(
        {
            **_generation(generation),
            "health": {
                "readiness": probe.health.readiness.value,
                "detail": probe.health.detail,
                "latency_ms": probe.health.latency_ms,
                "facts": dict(probe.health.facts),
            },
            "metadata": dict(metadata),
        }
    )


async def generations(request: web.Request) -> web.Response:
    """The current generation, those still draining, and the last receipts, newest first."""
    slot = request.app[LIVE].slot
    return json_response(
        {
            "current": _generation(slot.current),
            "draining": [_generation(old) for old in slot.draining],
            "receipts": request.app[RECEIPTS].newest_first(),
        }
    )


async def reload(request: web.Request) -> web.Response:
    """SIGHUP with a reply; `?plan=true` goes as far as the probe and changes nothing.

    200 with the receipt, whatever became of it but a refusal: that is 409.
    """
    word = request.query.get("plan", "").lower()
    if word not in _TRUE | _FALSE:
        raise InvalidRequest("not_a_boolean", field="plan")
    receipt = await request.app[RELOADER].reload(plan=word in _TRUE, trigger="admin")
    return json_response(receipt.as_json(), status=409 if receipt.outcome == "refused" else 200)


def _generation(generation: Generation) -> dict[str, object]:
    return {
        "generation": generation.number,
        "backend": generation.identity.kind,
        "name": generation.identity.name,
        "in_flight": generation.in_flight,
    }
