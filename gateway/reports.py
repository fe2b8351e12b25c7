"""What one process reports of itself, to its own routes and to the others of its fleet.

Reports are plain values, fit to be sent to another process and to be added to others' reports.
"""

import os
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web
from prometheus_client.core import Metric

from backends.slot import Generation
from gateway.console.setup import CONSOLE
from gateway.keys import LIVE, METRICS, PROBER, STATE, UI_TENANTS
from gateway.logs.tap import TAP

UI_TENANT: Final = "ui_tenant"
"""Tells the others for whom a sandboxed page was served: tenant, extension, content hash."""


async def report(app: web.Application, what: str, arguments: dict[str, Any]) -> Any:
    """What this process says about `what`."""
    return await _ABOUT[what](app, **arguments)


def hear(app: web.Application, what: str, said: tuple[Any, ...]) -> None:
    """Take note of what another process says."""
    if what == UI_TENANT:
        app[UI_TENANTS].note(*said)


async def _ready(app: web.Application) -> dict[str, object]:
    """Whether this process can serve."""
    live, last, state = app[LIVE], app[PROBER].last, app[STATE]
    return {
        "ready": last is not None and last.ready and not state.stopping,
        "stopping": state.stopping,
        "backend": live.served_by.kind,
        "generation": live.served_by.generation,
        "health": last.health.readiness.value if last else "unknown",
        "detail": last.health.detail if last else "not_probed_yet",
        "probe_age_s": round(last.age_s, 3) if last else None,
    }


async def _probed(app: web.Application) -> dict[str, object]:
    """The current backend, and how it is: asked now."""
    generation = app[LIVE].slot.current
    probe = await app[PROBER].probe_now()
    return {
        **_generation(generation),
        "health": {
            "readiness": probe.health.readiness.value,
            "detail": probe.health.detail,
            "latency_ms": probe.health.latency_ms,
            "facts": dict(probe.health.facts),
        },
    }


async def _generations(app: web.Application) -> dict[str, object]:
    """The current generation and those that drain."""
    slot = app[LIVE].slot
    return {
        "current": _generation(slot.current),
        "draining": [_generation(old) for old in slot.draining],
    }


async def _metrics(app: web.Application) -> list[Metric]:
    """Every metric family."""
    return list(app[METRICS].registry.collect())


async def _console(app: web.Application) -> Any:
    """What the console knows of this process."""
    return await app[CONSOLE].document.own()


async def _lines(app: web.Application, *, request_id: str) -> object:
    """The console's lines of a request."""
    return app[CONSOLE].document.own_lines_of(request_id)


async def _log(_: web.Application, *, seen: dict[int, int]) -> tuple[int, list[str]]:
    """Log lines after those that the asker has `seen`, by process id."""
    return TAP.since(seen.get(os.getpid()))


def _generation(generation: Generation) -> dict[str, object]:
    return {
        "generation": generation.number,
        "backend": generation.identity.kind,
        "name": generation.identity.name,
        "in_flight": generation.in_flight,
    }


_ABOUT: Final[dict[str, Callable[..., Awaitable[Any]]]] = {
    "ready": _ready,
    "probed": _probed,
    "generations": _generations,
    "metrics": _metrics,
    "console": _console,
    "lines": _lines,
    "log": _log,
}
