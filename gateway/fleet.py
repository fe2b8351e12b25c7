"""The port to the other processes that serve the same port, as one of them sees them.

A process that serves alone is a fleet of one, so that routes need not tell the two apart.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.generations.receipts import Receipts
from gateway.generations.swap import Swapper
from gateway.reload import Reloader, Reloading, Sole
from gateway.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one process said of itself."""

    worker: int  # its place: 0, 1, ...
    pid: int | None  # None: nobody is there at present
    said: Any = None  # None: it did not answer in time

    @property
    def is_vacant(self) -> bool:
        """Whether nobody could be asked."""
        return self.pid is None

    @property
    def is_missing(self) -> bool:
        """Whether nobody answered."""
        return self.said is None

    def facts(self) -> dict[str, object]:
        """Who was asked, and whether there was an answer."""
        return {"worker": self.worker, "pid": self.pid, "answered": not self.is_missing}


def answers(reports: Iterable[Report]) -> list[Any]:
    """What was said by those who answered."""
    return [report.said for report in reports if not report.is_missing]


class Fleet(Protocol):
    """Everybody who serves this port."""

    size: int
    """How many processes there should be."""
    generation: int
    """The number of the generation that a process begins with."""

    def reloading(
        self, swapper: Swapper, receipts: Receipts, load: Callable[[], Settings]
    ) -> Reloading:
        """How this process reloads. Fills `receipts` with what there is already."""

    async def reports(self, what: str, **arguments: Any) -> Sequence[Report]:
        """What each process says about `what` (gateway/reports.py), in the order of places.

        This one always answers. Never raises for what becomes of the others.
        """

    def tell(self, what: str, *said: Any) -> None:
        """Let the others know (`gateway.reports.hear`). Nobody answers."""


class FleetOfOne:
    """A process that serves alone."""

    size = 1
    generation = 1

    def __init__(self, own: "OwnReport") -> None:
        self._own = own

    def reloading(
        self, swapper: Swapper, receipts: Receipts, load: Callable[[], Settings]
    ) -> Reloading:
        """See Fleet."""
        return Reloader(Sole(swapper, load), receipts)

    async def reports(self, what: str, **arguments: Any) -> Sequence[Report]:
        """See Fleet."""
        return [Report(worker=0, pid=os.getpid(), said=await self._own(what, arguments))]

    def tell(self, what: str, *said: Any) -> None:
        """See Fleet."""


class OwnReport(Protocol):
    """What this process says about `what`."""

    async def __call__(self, what: str, arguments: dict[str, Any], /) -> Any: ...


_guard: type[Fleet] = FleetOfOne
