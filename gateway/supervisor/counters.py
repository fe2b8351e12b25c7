"""What workers have counted, kept for when they are gone: a counter never goes down.

Every worker's counters are remembered when somebody scrapes, once a second besides, and
when it says farewell. Of one that was killed, what it counted after that is lost.
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
        """Everything that was ever counted, by the living and the dead: one moment's sums."""
        return added_up(self._of_the_dead, *self._last.values())
