"""What the observer knows, as the document that the page draws. Pure."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from gateway.console.observer import SLOW_MS, Line, Observer
from gateway.console.tally import Tally
from gateway.console.window import WINDOW_S, Picture
from gateway.problems import PROBLEMS

SHARES: Final = (0.5, 0.95, 0.99)
SHOWN_GROUPS: Final = 25
SHOWN_LINES: Final = 30
SHOWN_SLOW: Final = 15
SHOWN_RUNNING: Final = 15
SHOWN_CODES: Final = 30


def traffic(window: Picture) -> dict[str, object]:
    """Totals, routes, extensions, and one point a second for the charts. Durations in ms."""
    covered_s = window.covered_s
    seconds = [tally and _numbers(tally, 1) for tally in window.each_second()]
    return {
        "window_s": WINDOW_S,
        "covered_s": covered_s,
        "total": _numbers(window.total(), covered_s),
        "routes": _groups(window.groups("route"), covered_s),
        "extensions": _groups(window.groups("extension"), covered_s),
        "seconds": {
            name: [numbers and numbers[name] for numbers in seconds]
            for name in ("requests", "errors", "p50", "p95", "p99")
        },
    }


def failures(observer: Observer) -> list[dict[str, object]]:
    """What went wrong lately, grouped by code, the most frequent first.

    `page` is the file that explains the code; None for what is an extension's own answer,
    or nobody's fault.
    """
    groups: dict[str, dict[str, object]] = {}
    counts: dict[str, int] = {}
    for line in observer.failures():
        code = line.code
        counts[code] = counts.get(code, 0) + 1
        if code not in groups:  # the newest one comes first
            groups[code] = {
                "code": code,
                "title": PROBLEMS[code].title if code in PROBLEMS else None,
                "page": f"problems/{code}.html" if code in PROBLEMS else None,
                "last": shown(line),
            }
    busiest = sorted(groups, key=lambda code: (-counts[code], code))
    return [groups[code] | {"count": counts[code]} for code in busiest[:SHOWN_CODES]]


def slow(observer: Observer) -> dict[str, object]:
    """The last slow requests, the newest first."""
    return {"from_ms": SLOW_MS, "lines": shown_all(observer.slow(), SHOWN_SLOW)}


def shown_all(lines: Iterable[Line], most: int = SHOWN_LINES) -> list[dict[str, object]]:
    """The first `most` of them."""
    return [shown(line) for line in islice(lines, most)]


def newest(lines: Iterable[Mapping[str, object]], most: int) -> list[Mapping[str, object]]:
    """The `most` newest lines of several processes."""
    return sorted(lines, key=lambda line: str(line["at"]), reverse=True)[:most]


def shown(line: Line) -> dict[str, object]:
    """One line of the log."""
    return {"at": iso(line.at), "event": line.event, **line.fields}


def iso(at: float) -> str:
    """Seconds since the epoch as RFC 3339, in milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _groups(groups: Iterable[tuple[str, Tally]], covered_s: int) -> list[dict[str, object]]:
    return [
        {"name": name} | _numbers(tally, covered_s) for name, tally in islice(groups, SHOWN_GROUPS)
    ]


def _numbers(tally: Tally, covered_s: int) -> dict[str, object]:
    p50, p95, p99 = tally.percentiles(*SHARES)
    return {
        "requests": tally.requests,
        "per_second": round(tally.requests / max(covered_s, 1), 2),
        "errors": tally.errors,
        "p50": p50,
        "p95": p95,
        "p99": p99,
    }
