"""How long cold starts took, by extension: for Retry-After and for the metrics."""

import math
from bisect import bisect_left
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final

from backends.contract import Histogram

_EXTENSIONS: Final = 256
_SAMPLES: Final = 64
_MOST_RETRY_AFTER_S: Final = 60
_BOUNDS_S: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0)


@dataclass(frozen=True, slots=True)
class Quantiles:
    """The median and the 95th percentile of the last starts."""

    count: int
    p50_s: float
    p95_s: float


class ColdFigures:
    """The last starts of the extensions that were called last, bounded in both; and a histogram."""

    def __init__(self) -> None:
        self._taken: OrderedDict[str, deque[float]] = OrderedDict()
        self._last: deque[float] = deque(maxlen=_SAMPLES)
        self._counts = [0] * (len(_BOUNDS_S) + 1)
        self._total_s = 0.0

    def record(self, extension: str, took_s: float) -> None:
        """One call that woke the service and waited `took_s` for the first byte."""
        self._counts[bisect_left(_BOUNDS_S, took_s)] += 1
        self._total_s += took_s
        self._last.append(took_s)
        if not extension:
            return
        self._taken.setdefault(extension, deque(maxlen=_SAMPLES)).append(took_s)
        self._taken.move_to_end(extension)
        if len(self._taken) > _EXTENSIONS:
            self._taken.popitem(last=False)

    def quantiles(self, extension: str | None = None) -> Quantiles | None:
        """Of one extension, or of all together; None: none was seen."""
        taken = self._last if extension is None else self._taken.get(extension)
        if not taken:
            return None
        ordered = sorted(taken)
        return Quantiles(len(ordered), _at(ordered, 0.5), _at(ordered, 0.95))

    def histogram(self) -> Histogram:
        """All starts since this was made."""
        return Histogram(bounds_s=_BOUNDS_S, counts=tuple(self._counts), total_s=self._total_s)

    def retry_after_s(self, extension: str) -> int:
        """When a start that has begun is probably over: the p95, in whole seconds from 1 to 60."""
        known = self.quantiles(extension) or self.quantiles()
        return 1 if known is None else max(1, min(math.ceil(known.p95_s), _MOST_RETRY_AFTER_S))

    def facts(self) -> dict[str, object]:
        """What an operator wants to see: all starts, and the extensions with the slowest."""
        every = self.quantiles()
        named = {name: self.quantiles(name) for name in self._taken}
        slowest = sorted(
            ((name, each) for name, each in named.items() if each is not None),
            key=lambda pair: -pair[1].p95_s,
        )[:10]
        return {
            "count": self.histogram().count,
            "p50_s": every and every.p50_s,
            "p95_s": every and every.p95_s,
            "slowest": {
                name: {"count": each.count, "p50_s": each.p50_s, "p95_s": each.p95_s}
                for name, each in slowest
            },
        }


def _at(ordered: list[float], share: float) -> float:
    """The nearest-rank quantile."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
