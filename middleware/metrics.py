"""Requests in numbers, for Prometheus.

Every label has a bounded set of values: routes and methods come from this program, backends
and outcomes from enumerations, statuses from 100 to 599.
"""

import asyncio
import time
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from middleware.backend_tag import SERVED_BY
from middleware.labels import method_of, route_of

NO_BACKEND: Final = "none"

_DURATION_BUCKETS_S: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip


class Metrics:
    """The request metrics and the registry they live in.

    `registry` is this object's own unless one is given: two applications in one process
    would otherwise share the library's global one, and the second could not start.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self._requests = Counter(
            "gateway_requests",
            "Requests answered, abandoned by the client, or broken off.",
            ("route", "method", "status", "backend", "outcome"),
            registry=self.registry,
        )
        self._duration = Histogram(
            "gateway_request_duration_seconds",
            "Time until the answer was complete or, for a buffered one, handed over.",
            ("route", "backend"),
            buckets=_DURATION_BUCKETS_S,
            registry=self.registry,
        )
        self._in_flight = Gauge(
            "gateway_in_flight",
            "Requests that are running now.",
            ("route",),
            registry=self.registry,
        )
        # labels() validates, joins and locks on every call; a dict lookup does not.
        self._request_of: dict[tuple[str, str, int | None, str, str], Counter] = {}
        self._duration_of: dict[tuple[str, str], Histogram] = {}
        self._in_flight_of: dict[str, Gauge] = {}

    def in_flight(self, route: str) -> Gauge:
        """The gauge of one route."""
        gauge = self._in_flight_of.get(route)
        if gauge is None:
            gauge = self._in_flight_of[route] = self._in_flight.labels(route)
        return gauge

    def count(
        self, route: str, method: str, status: int | None, backend: str, outcome: str
    ) -> None:
        """One request is over. `status` is None when no answer began."""
        key = (route, method, status, backend, outcome)
        counter = self._request_of.get(key)
        if counter is None:
            shown = "none" if status is None else str(status)
            counter = self._requests.labels(route, method, shown, backend, outcome)
            self._request_of[key] = counter
        counter.inc()

    def observe(self, route: str, backend: str, duration_s: float) -> None:
        """How long a request took."""
        key = (route, backend)
        histogram = self._duration_of.get(key)
        if histogram is None:
            histogram = self._duration_of[key] = self._duration.labels(route, backend)
        histogram.observe(duration_s)


def metrics(m: Metrics) -> Middleware:
    """Count and time every request, however it ends."""

    @web.middleware
    async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
        route = route_of(request)
        started = time.perf_counter()
        status: int | None = None
        outcome = "broken_off"
        with m.in_flight(route).track_inprogress():
            try:
                response = await handler(request)
                status = response.status
                outcome = _outcome_of(status)
            except web.HTTPException as answer:
                status = answer.status
                outcome = _outcome_of(status)
                raise
            except (asyncio.CancelledError, ConnectionError):
                outcome = "abandoned"
                raise
            finally:
                served_by = request.get(SERVED_BY)
                backend = NO_BACKEND if served_by is None else served_by.kind
                m.count(route, method_of(request), status, backend, outcome)
                m.observe(route, backend, time.perf_counter() - started)
        return response

    return measure


def _outcome_of(status: int) -> str:
    if status < 400:
        return "ok"
    return "client_error" if status < 500 else "server_error"
