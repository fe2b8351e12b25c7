"""How many requests there were, and how long they took: percentiles in constant memory.

Durations are counted in buckets that grow by a fifth each, so a percentile is told within a
tenth of its value, whether it is a millisecond or a minute. Tallies can be added and taken
away again, which is what a sliding window is made of.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

BUCKETS: Final = 84
FIRST_MS: Final = 0.1
_GROWTH: Final = 1.2
_LOG_GROWTH: Final = math.log(_GROWTH)


def bucket_of(duration_ms: float) -> int:
    """Which bucket a duration falls into: 0 up to 0.1 ms, the last one from six minutes on."""
    if duration_ms <= FIRST_MS:
        return 0
    return min(math.ceil(math.log(duration_ms / FIRST_MS) / _LOG_GROWTH), BUCKETS - 1)


def duration_of(bucket: int) -> float:
    """The duration in ms that stands for a bucket: at most a tenth from any that is in it."""
    return FIRST_MS * _GROWTH**bucket * 2 / (1 + _GROWTH)


class Tally:
    """Requests counted: all, those that failed, and their durations by bucket."""

    __slots__ = ("_durations", "errors", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self._durations: Counter[int] = Counter()

    def count(self, bucket: int, *, is_error: bool) -> None:
        """One more request, whose duration falls into `bucket`."""
        self.requests += 1
        self.errors += is_error
        self._durations[bucket] += 1

    def copy(self) -> "Tally":
        """One that goes on for itself."""
        other = Tally()
        other.add(self)
        return other

    def add(self, other: "Tally") -> None:
        """Count in what `other` has counted."""
        self.requests += other.requests
        self.errors += other.errors
        self._durations.update(other._durations)

    def take_away(self, other: "Tally") -> None:
        """Undo an earlier `add` of the same tally."""
        self.requests -= other.requests
        self.errors -= other.errors
        self._durations.subtract(other._durations)

    def percentiles(self, *wanted: float) -> Sequence[float | None]:
        """Durations in ms that these shares of all requests did not exceed.

        Args:
            wanted: shares from 0 to 1, ascending.

        Returns:
            One value each, None when nothing was counted.

        >>> tally = Tally()
        >>> for duration_ms in (10, 10, 10, 1000):
        ...     tally.count(bucket_of(duration_ms), is_error=False)
        >>> [round(value) for value in tally.percentiles(0.5, 0.99)]
        [10, 993]
        """
        ranks = [max(1, math.ceil(share * self.requests)) for share in wanted]
        found: list[float | None] = []
        reached = 0
        for bucket in sorted(self._durations):
            reached += self._durations[bucket]
            while len(found) < len(ranks) and ranks[len(found)] <= reached:
                found.append(round(duration_of(bucket), 2))
        return found + [None] * (len(ranks) - len(found))
