"""Keeps what workers have counted when they are gone: a counter must never go down.

Every worker's counters are remembered at each scrape, once a second besides, and when it says
farewell. What a killed worker counted after the last of these is lost.
"""

from collections.abc import Sequence

from prometheus_client.core import Metric

from gateway.metric_sums import added_up, counted


class Counters:
    """The last known counters of the living, and the sums of the dead."""

    def __init__(self) -> None:
        self._last: dict[int, list[Metric]] = {}  # by process id
        self._of_the_dead: list[Metric] = []

    def note(self, pid: int, families: Sequence[Metric]) -> None:
        """What a living worker says."""
        self._last[pid] = counted(families)

    def bury(self, pid: int) -> None:
        """This worker is gone: what it has counted stays."""
        self._of_the_dead = added_up(self._of_the_dead, self._last.pop(pid, ()))

    def total(self) -> list[Metric]:
        """What the living and the dead have counted, added up."""
        return added_up(self._of_the_dead, *self._last.values())
