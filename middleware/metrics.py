"""Requests in numbers, for Prometheus.

Counted in plain dictionaries by the one thread that serves, and turned into metric families
when somebody scrapes: no lock and no label lookup on a request's path. Every label has a
bounded set of values: routes and methods come from this program, backends and outcomes from
enumerations, statuses from 100 to 599.
"""

import asyncio
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from backends.contract import Histogram
from middleware.backend_tag import SERVED_BY, ServedBy
from middleware.carried import carried
from middleware.labels import method_of, route_of

NO_BACKEND: Final = "none"
ABANDONED: Final = "abandoned"  # by its client
BROKEN_OFF: Final = "broken_off"  # after its answer had begun

_DURATION_BOUNDS_S: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip

Request = tuple[str, str, int | None, str, str]
"""Route, method, status (None: no answer began), backend, outcome."""


class Durations:
    """A histogram under way: requests by bucket, and their durations added up."""

    __slots__ = ("buckets", "total_s")

    def __init__(self) -> None:
        self.buckets = [0] * (len(_DURATION_BOUNDS_S) + 1)
        self.total_s = 0.0

    def histogram(self) -> Histogram:
        """All of them as they are now."""
        counts = tuple(self.buckets)
        return Histogram(bounds_s=_DURATION_BOUNDS_S, counts=counts, total_s=self.total_s)


class Metrics(Collector):
    """The request metrics, and the registry they are registered with.

    `registry` is this object's own unless one is given: two applications in one process
    would otherwise share the library's global one, and the second could not start.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self.in_flight: Counter[str] = Counter()  # by route
        self._requests: Counter[Request] = Counter()
        self._durations: dict[tuple[str, str], Durations] = {}  # by route and backend
        self.registry.register(self)

    def count(
        self, route: str, method: str, status: int | None, backend: str, outcome: str
    ) -> None:
        """One request is over. `status` is None when no answer began."""
        self._requests[route, method, status, backend, outcome] += 1

    def ended(
        self,
        route: str,
        method: str,
        status: int | None,
        served_by: ServedBy | None,
        outcome: str,
        duration_s: float,
    ) -> None:
        """Count and time a request that was in flight."""
        self.in_flight[route] -= 1
        self.passed(route, method, status, served_by, outcome, duration_s)

    def passed(
        self,
        route: str,
        method: str,
        status: int | None,
        served_by: ServedBy | None,
        outcome: str,
        duration_s: float,
    ) -> None:
        """Count and time a request that was answered in one go."""
        backend = NO_BACKEND if served_by is None else served_by.kind
        self._requests[route, method, status, backend, outcome] += 1
        durations = self._durations.get((route, backend))
        if durations is None:
            durations = self._durations[route, backend] = Durations()
        durations.buckets[bisect_left(_DURATION_BOUNDS_S, duration_s)] += 1
        durations.total_s += duration_s

    def collect(self) -> Iterator[Metric]:
        """The families, as they are now."""
        requests = CounterMetricFamily(
            "gateway_requests",
            "Requests answered, abandoned by the client, or broken off.",
            labels=("route", "method", "status", "backend", "outcome"),
        )
        for (route, method, status, backend, outcome), count in self._requests.items():
            shown = "none" if status is None else str(status)
            requests.add_metric((route, method, shown, backend, outcome), count)
        yield requests
        durations = HistogramMetricFamily(
            "gateway_request_duration_seconds",
            "Time until the answer was complete or, for a buffered one, handed over.",
            labels=("route", "backend"),
        )
        for labels, taken in self._durations.items():
            durations.add_metric(labels, taken.histogram().cumulative(), taken.total_s)
        yield durations
        in_flight = GaugeMetricFamily(
            "gateway_in_flight", "Requests that are running now.", labels=("route",)
        )
        for route, running in self.in_flight.items():
            in_flight.add_metric((route,), running)
        yield in_flight


def metrics(m: Metrics) -> Middleware:
    """Count and time every request, however it ends."""

    @web.middleware
    async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
        route = route_of(request)
        started = time.perf_counter()
        status: int | None = None
        outcome = BROKEN_OFF
        m.in_flight[route] += 1
        try:
            response = await handler(request)
            status = response.status
            outcome = outcome_of(status)
        except web.HTTPException as answer:
            status = answer.status
            outcome = outcome_of(status)
            raise
        except (asyncio.CancelledError, ConnectionError):
            outcome = ABANDONED
            raise
        finally:
            m.ended(
                route,
                method_of(request),
                status,
                carried(request, SERVED_BY),
                outcome,
                time.perf_counter() - started,
            )
        return response

    return measure


def outcome_of(status: int) -> str:
    """How an answer with this status is counted."""
    if status < 400:
        return "ok"
    return "client_error" if status < 500 else "server_error"
