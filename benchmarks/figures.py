"""From samples to figures: medians over rounds, ratios between servers. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Costs = Mapping[str, Mapping[str, "Figures"]]
"""Work to server to what it cost."""


@dataclass(frozen=True)
class Sample:
    """One server, one burst."""

    cpu_us: float  # user and system time a request, all processes
    requests_per_s: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Figures:
    """One server's medians over all rounds."""

    cpu_us: float
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    spread: float  # the dearest round over the cheapest one
    rounds: int


def figures(samples: Sequence[Sample]) -> Figures:
    """The medians of at least one sample.

    >>> cheap, dear = Sample(10.0, 900.0, 1.0, 2.0), Sample(15.0, 700.0, 1.0, 4.0)
    >>> figures([cheap, dear, cheap]).cpu_us, figures([cheap, dear]).spread
    (10.0, 1.5)
    """
    costs = [one.cpu_us for one in samples]
    return Figures(
        cpu_us=median(costs),
        requests_per_s=median(one.requests_per_s for one in samples),
        p50_ms=median(one.p50_ms for one in samples),
        p99_ms=median(one.p99_ms for one in samples),
        spread=max(costs) / min(costs) if min(costs) else 1.0,
        rounds=len(samples),
    )


def own(costs: Mapping[str, Figures]) -> Figures | None:
    """The gateway's own figures in one row, whichever way it was set up for that work."""
    return next((found for name, found in costs.items() if name.startswith("gateway")), None)


def ratio(costs: Costs, work: str, peer: str) -> float | None:
    """What the gateway needs for a request, over what `peer` needs; None: not both measured."""
    row = costs.get(work, {})
    mine, other = own(row), row.get(peer)
    if mine is None or other is None or not other.cpu_us:
        return None
    return mine.cpu_us / other.cpu_us
