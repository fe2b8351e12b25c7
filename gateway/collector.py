"""The gauges that are read rather than counted: taken from the live objects at each scrape."""

from collections.abc import Iterator, Mapping

from aiohttp import web
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from backends.contract import BackendKind, BackendStats
from gateway.asset_cache.cache import CacheStats
from gateway.keys import ASSET_CACHE, LINES_DROPPED, LIVE, PROBER, RECEIPTS, STATE


class GatewayCollector(Collector):
    """Backend, generations, swaps, pools, open files and log of one application."""

    def __init__(self, app: web.Application) -> None:
        self._app = app

    def collect(self) -> Iterator[Metric]:
        """One family per gauge; nothing before the application has started."""
        live = self._app.get(LIVE)
        if live is None:
            return
        kind, last = live.served_by.kind, self._app[PROBER].last
        yield GaugeMetricFamily(
            "gateway_generation", "Number of the generation that serves.", live.slot.current.number
        )
        up = GaugeMetricFamily(
            "gateway_backend_up", "1 while the last probe succeeded.", labels=["backend"]
        )
        up.add_metric([kind], float(last is not None and last.ready))
        yield up
        yield GaugeMetricFamily(
            "gateway_generations_draining",
            "Generations that finish what they began.",
            len(live.slot.draining),
        )
        yield from upstream(live.slot.stats())
        yield from _cache(self._app[ASSET_CACHE].stats())
        swaps = CounterMetricFamily("gateway_swaps", "Reloads by outcome.", labels=["outcome"])
        for outcome, count in self._app[RECEIPTS].totals.items():
            swaps.add_metric([outcome], count)
        yield swaps
        yield GaugeMetricFamily(
            "gateway_open_files_exhausted",
            "1 while no file can be opened, so that new connections are refused.",
            float(self._app[STATE].open_files_exhausted),
        )
        yield CounterMetricFamily(
            "gateway_log_lines_dropped",
            "Log lines given up: nobody read the log, or not fast enough.",
            self._app[LINES_DROPPED](),
        )


def upstream(stats: Mapping[BackendKind, BackendStats]) -> Iterator[Metric]:
    """Toward the runners. Counts go on through swaps, as counters must."""
    connections = GaugeMetricFamily(
        "gateway_upstream_connections",
        "Connections to the runner, by state.",
        labels=["backend", "state"],
    )
    retries = CounterMetricFamily(
        "gateway_upstream_retries", "Requests that were sent a second time.", labels=["backend"]
    )
    cold_starts = HistogramMetricFamily(
        "gateway_cold_start_seconds",
        "How long calls waited for a runner to start.",
        labels=["backend"],
    )
    for kind, each in stats.items():
        connections.add_metric([kind, "in_use"], each.connections_in_use)
        connections.add_metric([kind, "idle"], each.connections_idle)
        retries.add_metric([kind], each.retries)
        if (waits := each.cold_starts) is not None:
            cold_starts.add_metric([kind], waits.cumulative(), waits.total_s)
    yield from (connections, retries, cold_starts)


def _cache(stats: CacheStats) -> Iterator[Metric]:
    """The cache of UI files, which outlives generations."""
    yield CounterMetricFamily(
        "gateway_asset_cache_hits", "UI files answered from the cache.", stats.hits
    )
    yield CounterMetricFamily(
        "gateway_asset_cache_misses",
        "UI files that may be kept, and for which the runner was asked.",
        stats.misses,
    )
    yield CounterMetricFamily(
        "gateway_asset_cache_evictions", "Files pushed out of memory.", stats.evictions
    )
    yield CounterMetricFamily(
        "gateway_asset_cache_rejected",
        "Files whose bytes were not those of their tag.",
        stats.rejected,
    )
    yield GaugeMetricFamily("gateway_asset_cache_entries", "Files held in memory.", stats.entries)
    yield GaugeMetricFamily("gateway_asset_cache_bytes", "Bytes held in memory.", stats.bytes)
