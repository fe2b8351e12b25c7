"""Everything the console shows, as one document of independent sections.

A section that has not changed is equal to what it was before: whoever sends the document
again sends what differs. That is why it tells times, never ages.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import islice

from aiohttp import web

from backends.slot import Generation
from gateway.console.extensions import Extensions
from gateway.console.observer import OWN_ROUTES, Line, Observer
from gateway.console.together import added_up
from gateway.console.traffic import (
    SHOWN_LINES,
    SHOWN_RUNNING,
    failures,
    iso,
    newest,
    shown_all,
    slow,
)
from gateway.fleet import Report, answers
from gateway.generations.probe import ProbeResult
from gateway.keys import FLEET, IN_FLIGHT, LINES_DROPPED, LIVE, METRICS, PROBER, RECEIPTS, STATE
from gateway.settings import effective
from middleware.access_log import FACTS
from middleware.carried import carried
from middleware.labels import method_of, route_of
from middleware.redaction import Redactor
from middleware.request_id import request_id_of

SHOWN_RECEIPTS = 20

Sections = Mapping[str, object]


class Document:
    """Gathers the sections: what this process knows, and what the others say of themselves."""

    def __init__(self, app: web.Application, observer: Observer) -> None:
        self._app = app
        self._observer = observer
        self._extensions = Extensions(app)
        self._secrets: frozenset[str] = frozenset()
        self._redact = Redactor(lambda: self._secrets | app[LIVE].settings.secrets_now)
        self._probe: tuple[ProbeResult | None, str | None] = (None, None)

    async def sections(self) -> Sections:
        """The document as of now, of all processes that serve."""
        app, live = self._app, self._app[LIVE]
        reports = await app[FLEET].reports("console")
        extensions = await self._extensions.section()
        return {
            **added_up(answers(reports)),
            "workers": [_worker(each) for each in reports],
            "receipts": app[RECEIPTS].newest_first()[:SHOWN_RECEIPTS],
            "extensions": extensions,
            "settings": [asdict(row) for row in effective(live.settings)],
            "auth": live.settings.variables.gateway_auth,
        }

    async def own(self) -> Sections:
        """What this process alone knows; `gateway.console.together` puts such together."""
        app, live = self._app, self._app[LIVE]
        await self._observer.count()
        # From here on nothing waits: all sections are of the same moment.
        self._know_secrets()
        return {
            "backend": _generation(live.slot.current) | {"stopping": app[STATE].stopping},
            "health": self._health(),
            "draining": [_generation(old) for old in live.slot.draining],
            "in_flight": self._in_flight(),
            "traffic": self._observer.window.picture(),
            "failures": self._clean(failures(self._observer)),
            "slow": self._clean(slow(self._observer)),
            "lines": self._clean(shown_all(self._observer.lines())),
            "log_lines_dropped": app[LINES_DROPPED](),
        }

    async def lines_of(self, request_id: str) -> object:
        """The remembered lines whose request id begins like this, the newest first."""
        reports = await self._app[FLEET].reports("lines", request_id=request_id)
        lines = [line for each in reports for line in each.said or ()]
        return newest(lines, SHOWN_LINES)

    def own_lines_of(self, request_id: str) -> object:
        """Those of this process."""

        def is_wanted(line: Line) -> bool:
            return str(line.fields.get("request_id", "")).startswith(request_id)

        self._know_secrets()
        return self._clean(shown_all(filter(is_wanted, self._observer.lines()), SHOWN_LINES))

    def _know_secrets(self) -> None:
        # The old ones stay masked: lines of calls that ran under them are still remembered.
        self._secrets |= self._app[LIVE].settings.secrets

    def _clean(self, value: object) -> object:
        return self._redact(None, "", {"shown": value})["shown"]

    def _health(self) -> dict[str, object]:
        last = self._app[PROBER].last
        if last is not self._probe[0] or last is None:
            at = None if last is None else iso(time.time() - last.age_s)
            self._probe = (last, at)
        return {
            "readiness": last.health.readiness.value if last else "unknown",
            "detail": last.health.detail if last else "not_probed_yet",
            "latency_ms": last.health.latency_ms if last else None,
            "probed_at": self._probe[1],
            "facts": dict(last.health.facts) if last else {},
        }

    def _in_flight(self) -> dict[str, object]:
        running = {
            route: count
            for route, count in self._app[METRICS].in_flight.items()
            if count and route not in OWN_ROUTES
        }
        live = self._app[LIVE]
        return {
            "total": sum(running.values()),
            "counted": self._app[IN_FLIGHT].count,
            "limit": live.settings.max_in_flight,
            "routes": [
                {"route": route, "count": running[route]}
                for route in sorted(running, key=lambda one: (-running[one], one))
            ],
            "longest": list(islice(self._longest(), SHOWN_RUNNING)),
        }

    def _longest(self) -> Iterator[dict[str, object]]:
        for began_at, request in self._app[IN_FLIGHT].longest():
            route = route_of(request)
            if route not in OWN_ROUTES:
                yield {
                    "since": iso(began_at),
                    "method": method_of(request),
                    "route": route,
                    "extension": (carried(request, FACTS) or {}).get("extension"),
                    "request_id": request_id_of(request),
                }


def _worker(report: Report) -> dict[str, object]:
    """One process; `answered` is False when it said nothing in time."""
    if report.is_missing:
        return report.facts()
    backend = report.said["backend"]
    return report.facts() | {
        "generation": backend["generation"],
        "readiness": report.said["health"]["readiness"],
        "in_flight": report.said["in_flight"]["total"],
        "log_lines_dropped": report.said["log_lines_dropped"],
    }


def _generation(generation: Generation) -> dict[str, object]:
    return {
        "generation": generation.number,
        "kind": generation.identity.kind,
        "name": generation.identity.name,
        "in_flight": generation.in_flight,
    }
