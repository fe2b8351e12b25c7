"""Adds up what several processes know into one console document. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from gateway.console import window
from gateway.console.traffic import (
    SHOWN_CODES,
    SHOWN_LINES,
    SHOWN_RUNNING,
    SHOWN_SLOW,
    newest,
    traffic,
)

_READY: Final = "ready"

Said = Mapping[str, Any]


def added_up(said: Sequence[Said]) -> dict[str, object]:
    """The sections that every process fills for itself, for all of them together.

    Args:
        said: what each process knows of itself (`Document.own`); at least one.
    """
    first = said[0]
    return {
        "backend": first["backend"]
        | {
            "in_flight": sum(each["backend"]["in_flight"] for each in said),
            "stopping": all(each["backend"]["stopping"] for each in said),
        },
        # One that does not reach the runner is what an operator has to know of.
        "health": next(
            (each["health"] for each in said if each["health"]["readiness"] != _READY),
            first["health"],
        ),
        "draining": draining(each["draining"] for each in said),
        "in_flight": _in_flight([each["in_flight"] for each in said]),
        "traffic": traffic(window.added_up([each["traffic"] for each in said])),
        "failures": _failures(each["failures"] for each in said),
        "slow": first["slow"]
        | {"lines": newest(_joined(each["slow"]["lines"] for each in said), SHOWN_SLOW)},
        "lines": newest(_joined(each["lines"] for each in said), SHOWN_LINES),
    }


def draining(said: Iterable[Sequence[Said]]) -> list[Said]:
    """Generations that drain in any process, oldest first, with what runs in all of them."""
    found: dict[int, dict[str, Any]] = {}
    for old in _joined(said):
        number = old["generation"]
        running = found[number]["in_flight"] if number in found else 0
        found[number] = {**old, "in_flight": running + old["in_flight"]}
    return [found[number] for number in sorted(found)]


def _in_flight(said: Sequence[Said]) -> dict[str, object]:
    routes: dict[str, int] = {}
    for each in said:
        for row in each["routes"]:
            routes[row["route"]] = routes.get(row["route"], 0) + row["count"]
    return {
        "total": sum(each["total"] for each in said),
        "counted": sum(each["counted"] for each in said),
        "limit": sum(each["limit"] for each in said),
        "routes": [
            {"route": route, "count": routes[route]}
            for route in sorted(routes, key=lambda one: (-routes[one], one))
        ],
        "longest": running_longest(said),
    }


def running_longest(said: Iterable[Said]) -> list[Said]:
    """The requests that have been running longest in any process, the longest first."""
    running = _joined(each["longest"] for each in said)
    return sorted(running, key=lambda one: str(one["since"]))[:SHOWN_RUNNING]


def _failures(said: Iterable[Sequence[Said]]) -> list[Said]:
    groups: dict[str, dict[str, Any]] = {}
    for group in _joined(said):
        known = groups.setdefault(group["code"], {**group, "count": 0})
        known["count"] += group["count"]
        if group["last"]["at"] > known["last"]["at"]:
            known["last"] = group["last"]
    busiest = sorted(groups, key=lambda code: (-groups[code]["count"], code))
    return [groups[code] for code in busiest[:SHOWN_CODES]]


def _joined(lists: Iterable[Sequence[Said]]) -> list[Said]:
    return [each for one in lists for each in one]
