"""Gathers reports of all workers for the one that serves the request for them."""

import asyncio
import os
from collections.abc import Callable
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.fleet import Report
from gateway.logs.tap import TAP
from gateway.metric_sums import added_up, not_counted
from gateway.supervisor.counters import Counters
from gateway.supervisor.crew import Crew
from gateway.supervisor.process import WorkerProcess
from gateway.supervisor.start import REPORT_S

SUPERVISOR: Final = -1
"""Stands in a report for a worker's number when the supervisor itself reports."""
COUNT_EVERY_S: Final = 1.0


class Survey:
    """Asks the workers.

    Args:
        lines_dropped: how many log lines of the supervisor found no room.
    """

    def __init__(self, crew: Crew, lines_dropped: Callable[[], int]) -> None:
        self.counters = Counters()
        self._crew = crew
        self._lines_dropped = lines_dropped

    async def reports(
        self, asker: WorkerProcess, what: str, arguments: dict[str, Any], own: Any
    ) -> list[Report]:
        """What the others say, for `asker`, who knows what it says itself.

        Args:
            own: of metrics alone: the asker's. They are a part of the answer, because a sum
                has to be of one moment.
        """
        if what == "metrics":
            return await self._metrics(asker, own)
        serving = self._crew.serving
        others = [place for place in range(self._crew.size) if serving.get(place) is not asker]
        found = await asyncio.gather(
            *(self._report(place, serving.get(place), what, arguments) for place in others)
        )
        if what == "log":
            said = TAP.since(arguments["seen"].get(os.getpid()))
            found.append(Report(worker=SUPERVISOR, pid=os.getpid(), said=said))
        return found

    async def count(self) -> None:
        """Remember every worker's counters, once a second."""
        while True:
            await asyncio.sleep(COUNT_EVERY_S)
            await asyncio.gather(*(self._counted(worker) for worker in self._everybody()))

    async def _metrics(self, asker: WorkerProcess, own: list[Metric]) -> list[Report]:
        self.counters.note(asker.pid, own)
        others = [worker for worker in self._everybody() if worker is not asker]
        found = await asyncio.gather(*(self._counted(worker) for worker in others))
        # From here on nothing waits: whoever dies now is counted once.
        total = added_up(self.counters.total(), self._own_counters())
        return [
            Report(worker=asker.place, pid=asker.pid, said=not_counted(own)),
            *(report for report in found if not report.is_missing),
            Report(worker=SUPERVISOR, pid=os.getpid(), said=[*total, self._workers()]),
        ]

    async def _counted(self, worker: WorkerProcess) -> Report:
        """A worker's gauges; its counters are remembered."""
        report = await self._report(worker.place, worker, "metrics", {})
        if report.is_missing:
            return report
        if not worker.ended.is_set():
            self.counters.note(worker.pid, report.said)
        return Report(worker=worker.place, pid=worker.pid, said=not_counted(report.said))

    async def _report(
        self, place: int, worker: WorkerProcess | None, what: str, arguments: dict[str, Any]
    ) -> Report:
        if worker is None:
            return Report(worker=place, pid=None)
        said = await self._crew.ask(
            worker, "report", within_s=REPORT_S, what=what, arguments=arguments
        )
        return Report(worker=place, pid=worker.pid, said=said)

    def _everybody(self) -> list[WorkerProcess]:
        return [*self._crew.serving.values(), *self._crew.leaving]

    def _own_counters(self) -> list[Metric]:
        return [
            CounterMetricFamily(
                "gateway_worker_restarts",
                "Workers that took the place of another one.",
                self._crew.restarts,
            ),
            CounterMetricFamily(
                "gateway_log_lines_dropped",
                "Log lines given up: nobody read the log, or not fast enough.",
                self._lines_dropped(),
            ),
        ]

    def _workers(self) -> Metric:
        workers = GaugeMetricFamily(
            "gateway_workers", "Worker processes, by state.", labels=["state"]
        )
        serving = len(self._crew.serving)
        workers.add_metric(["serving"], serving)
        workers.add_metric(["missing"], self._crew.size - serving)
        workers.add_metric(["leaving"], len(self._crew.leaving))
        return workers
