"""The last two minutes, second by second: by route, by extension, and all together.

Every second has its own tallies. The window's totals are kept beside them, so that letting
the oldest second go costs as much as that second had, not as much as the window has.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from gateway.console.tally import Tally, bucket_of

WINDOW_S: Final = 120
MAX_GROUPS: Final = 100
REST: Final = "(other)"

Kind = Literal["all", "route", "extension"]
Group = tuple[Kind, str]

ALL: Final[Group] = ("all", "")


@dataclass(slots=True)
class Second:
    """What ended within one second."""

    at: int  # of the monotonic clock that the observer reads
    tallies: dict[Group, Tally] = field(default_factory=dict)


class Window:
    """Whole seconds, the oldest first.

    Args:
        start: the first second that is known in full.
    """

    def __init__(self, start: int) -> None:
        self._start = start
        self._end = start  # the first second that is not in the window yet
        self._seconds: deque[Second] = deque()
        self._open: deque[Second] = deque()  # counted, and not in the window yet
        self._totals: dict[Group, Tally] = {}

    def restart(self, start: int) -> None:
        """Nothing that ended before `start` is known in full: forget all, if that is news."""
        if start <= self._start:
            return
        self._start = self._end = start
        self._seconds.clear()
        self._open.clear()
        self._totals.clear()

    def count(
        self, second: int, route: str, extension: str | None, duration_ms: float, *, is_error: bool
    ) -> None:
        """One request that ended in this second. Seconds never go back."""
        if not self._open or self._open[-1].at != second:
            self._open.append(Second(second))
        tallies = self._open[-1].tallies
        bucket = bucket_of(duration_ms)
        groups: tuple[Group, ...] = (ALL, ("route", route))
        if extension is not None:
            groups += (("extension", extension),)
        for group in groups:
            tally = tallies.get(group)
            if tally is None:
                tally = self._new_tally(tallies, group)
            tally.count(bucket, is_error=is_error)

    def slide_to(self, end: int) -> None:
        """Let the window end before second `end`, with what was counted in it until then."""
        self._end = max(end, self._start)
        while self._open and self._open[0].at < end:
            second = self._open.popleft()
            self._seconds.append(second)
            for group, tally in second.tallies.items():
                self._totals.setdefault(group, Tally()).add(tally)
        while self._seconds and self._seconds[0].at < end - WINDOW_S:
            for group, tally in self._seconds.popleft().tallies.items():
                total = self._totals[group]
                total.take_away(tally)
                if not total.requests:
                    del self._totals[group]

    def picture(self) -> "Picture":
        """What is in the window now; does not change with it."""
        return Picture(
            known_from=max(self._start, self._end - WINDOW_S),
            end=self._end,
            seconds={second.at: second.tallies[ALL].copy() for second in self._seconds},
            totals={group: tally.copy() for group, tally in self._totals.items()},
        )

    def _new_tally(self, tallies: dict[Group, Tally], group: Group) -> Tally:
        # Extensions are as many as are installed: a lot, where there are a lot of tenants.
        if group not in self._totals and len(self._totals) + len(tallies) >= MAX_GROUPS:
            group = (group[0], REST)
        return tallies.setdefault(group, Tally())


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A window at one moment, of one process or of several.

    Attributes:
        known_from: the first second that is known in full. Seconds are those of the
            machine's monotonic clock, which all processes share.
        end: the first second that is not in the picture.
        seconds: by second; a known one that is not here was quiet.
        totals: by group.
    """

    known_from: int
    end: int
    seconds: Mapping[int, Tally]
    totals: Mapping[Group, Tally]

    @property
    def covered_s(self) -> int:
        """How many seconds the totals stand for."""
        return min(WINDOW_S, self.end - self.known_from)

    def total(self) -> Tally:
        """Everything in the window."""
        return self.totals.get(ALL) or Tally()

    def groups(self, kind: Kind) -> list[tuple[str, Tally]]:
        """The totals of every route or every extension, the busiest first."""
        found = [(group[1], tally) for group, tally in self.totals.items() if group[0] == kind]
        return sorted(found, key=lambda one: (-one[1].requests, one[0]))

    def each_second(self) -> Iterator[Tally | None]:
        """One tally for each of the last WINDOW_S seconds, the oldest first.

        Empty for a second without requests, None for one that nothing is known about.
        """
        nothing = Tally()
        for at in range(self.end - WINDOW_S, self.end):
            yield self.seconds.get(at, nothing) if at >= self.known_from else None


def added_up(pictures: Sequence[Picture]) -> Picture:
    """What several processes have seen together.

    A second is known as soon as one process knows it: a process that was started later had no
    requests before.
    """
    seconds: dict[int, Tally] = {}
    totals: dict[Group, Tally] = {}
    for picture in pictures:
        for at, tally in picture.seconds.items():
            seconds.setdefault(at, Tally()).add(tally)
        for group, tally in picture.totals.items():
            totals.setdefault(group, Tally()).add(tally)
    return Picture(
        known_from=min(picture.known_from for picture in pictures),
        end=max(picture.end for picture in pictures),
        seconds=seconds,
        totals=totals,
    )
