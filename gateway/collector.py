"""The gauges that are read rather than counted: taken from the live objects at each scrape."""

from collections.abc import Iterator

from aiohttp import web
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.keys import LIVE, PROBER, RECEIPTS


class GatewayCollector(Collector):
    """Backend, generations, swaps and pools of one application."""

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
        swaps = CounterMetricFamily("gateway_swaps", "Reloads by outcome.", labels=["outcome"])
        for outcome, count in self._app[RECEIPTS].totals.items():
            swaps.add_metric([outcome], count)
        yield swaps
