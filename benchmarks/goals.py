"""What the gateway means to cost, and whether it does. Pure.

A ratio is the gateway's CPU time a request over the peer's in the same run: it means the
same on another machine, which microseconds do not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from benchmarks.figures import Costs, own, ratio


@dataclass(frozen=True)
class Goal:
    """At most `must` times what `peer` needs; `aim` is what would be good."""

    work: str
    peer: str
    must: float | None = None
    aim: float | None = None


@dataclass(frozen=True)
class Bound:
    """An amount of its own. `at_least`: larger is better."""

    measure: str
    must: float
    aim: float
    unit: str
    at_least: bool = False


GOALS: Final = (
    Goal("W1h", "caddy", must=0.65),
    Goal("W1h", "envoy", must=1.4, aim=1.0),
    Goal("W5", "caddy", must=0.65),
    Goal("W5", "envoy", aim=1.0),
    Goal("W2", "envoy", must=1.0),
    Goal("W2", "nginx", aim=1.5),
    Goal("W8", "nginx", must=1.0, aim=0.8),
    Goal("W3", "caddy", must=0.75),
    Goal("W3", "envoy", aim=1.0),
    Goal("EXT", "http-proxy-3", must=0.75),
    Goal("EXT", "envoy", aim=1.2),
    Goal("W4", "nginx-cache", must=1.5, aim=1.0),
    Goal("W5c", "nginx-cache", must=1.6, aim=1.0),
    Goal("W4b", "nginx-cache", must=0.6, aim=0.5),
)

BOUNDS: Final = (
    Bound("embedded calls of a small handler a second of CPU", 1500, 4000, "/s", at_least=True),
    Bound("resident memory after all of it", 64, 48, "MiB"),
    Bound("memory of an idle connection", 12, 8, "KiB"),
    Bound("start to first answer", 0.6, 0.6, "s"),
)


def verdict(measured: float | None, limit: float | None, *, at_least: bool = False) -> str:
    """One word; "" where there is no limit.

    >>> verdict(0.6, 0.65), verdict(0.7, 0.65), verdict(None, 1.0), verdict(1.0, None)
    ('met', 'missed', 'not measured', '')
    """
    if limit is None:
        return ""
    if measured is None:
        return "not measured"
    return "met" if (measured >= limit if at_least else measured <= limit) else "missed"


def measured_ratio(goal: Goal, costs: Costs) -> float | None:
    """Where the gateway stands with this goal."""
    return ratio(costs, goal.work, goal.peer)


def measured_amounts(costs: Costs, footprint: Mapping[str, float]) -> dict[str, float]:
    """Everything that a Bound is about, by its name, as far as it was measured."""
    amounts = dict(footprint)
    embedded = own(costs.get("EMBs", {}))
    if embedded is not None and embedded.cpu_us:
        amounts["embedded calls of a small handler a second of CPU"] = 1e6 / embedded.cpu_us
    return amounts
