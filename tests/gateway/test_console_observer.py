"""What the console remembers of requests, and what it makes of that."""

import asyncio
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.console.observer import MAX_FAILURES, MAX_LINES, MAX_UNCOUNTED, Observer
from gateway.console.tally import BUCKETS, Tally, bucket_of, duration_of
from gateway.console.traffic import failures, traffic
from gateway.console.window import MAX_GROUPS, REST, WINDOW_S, Window
from gateway.problems import PROBLEMS
from tests.clock import Clock


def finished(**more: object) -> dict[str, object]:
    """The log line of a request."""
    return {"request_id": "r", "route": "/a", "status": 200, "duration_ms": 10.0, **more}


def heard(observer: Observer, level: str = "info", **more: object) -> None:
    event = str(more.pop("event", "request_answered"))
    observer.around(lambda _: None)([(time.time(), level, event, finished(**more))])


@given(st.floats(min_value=0.11, max_value=300_000))
def test_a_bucket_stands_for_its_durations_within_a_tenth(duration_ms: float) -> None:
    assert duration_of(bucket_of(duration_ms)) == pytest.approx(duration_ms, rel=0.1)


def test_every_duration_has_a_bucket() -> None:
    assert [bucket_of(extreme) for extreme in (0.0, -1.0, 1e12)] == [0, 0, BUCKETS - 1]


def test_percentiles_are_those_of_the_requests_that_were_counted() -> None:
    tally = Tally()
    for duration_ms in range(1, 1001):
        tally.count(bucket_of(duration_ms), is_error=False)
    assert tally.percentiles(0.5, 0.95, 0.99) == pytest.approx([500, 950, 990], rel=0.1)
    assert Tally().percentiles(0.5) == [None]


def test_a_second_leaves_the_window_with_all_it_had() -> None:
    window = Window(0)
    window.count(0, "/old", "ext", 1.0, is_error=True)
    window.count(1, "/new", None, 1000.0, is_error=False)
    window.slide_to(1)
    assert (window.picture().total().requests, window.picture().covered_s) == (1, 1)
    window.slide_to(WINDOW_S)
    assert (window.picture().total().requests, window.picture().total().errors) == (2, 1)
    window.slide_to(WINDOW_S + 1)
    assert [name for name, _ in window.picture().groups("route")] == ["/new"]
    assert window.picture().groups("extension") == []
    assert (window.picture().total().requests, window.picture().total().errors) == (1, 0)
    assert window.picture().total().percentiles(0.5) == pytest.approx([1000.0], rel=0.1)
    window.slide_to(10 * WINDOW_S)
    assert window.picture().total().requests == 0


def test_more_extensions_than_there_is_room_for_are_counted_together() -> None:
    window = Window(0)
    for number in range(2 * MAX_GROUPS):
        window.count(number // 50, "/a", f"extension-{number}", 1.0, is_error=False)
        window.slide_to(number // 50)
    window.slide_to(10)
    groups = dict(window.picture().groups("extension"))
    assert len(groups) <= MAX_GROUPS
    assert groups[REST].requests > 0
    assert sum(tally.requests for tally in groups.values()) == 2 * MAX_GROUPS


async def test_only_whole_seconds_are_told() -> None:
    clock = Clock()
    observer = Observer(clock=clock)
    heard(observer)
    await observer.count()
    assert observer.window.picture().total().requests == 0
    clock.now += 1
    await observer.count()
    numbers: Any = traffic(observer.window.picture())
    assert numbers["covered_s"] == 1
    assert numbers["seconds"]["requests"][-2:] == [None, 1]
    assert (
        numbers["routes"][0] | {"name": "/a", "requests": 1, "per_second": 1.0}
        == numbers["routes"][0]
    )


async def test_what_nobody_counted_in_time_is_not_told_as_if_it_had_been_quiet() -> None:
    clock = Clock()
    observer = Observer(clock=clock)
    for number in range(MAX_UNCOUNTED + 500):
        clock.now = 1000 + number / 1000
        heard(observer)
    clock.now += 1
    await observer.count()
    numbers: Any = traffic(observer.window.picture())
    # Half of the first second was pushed out, so that second is unknown and not half as busy.
    assert numbers["covered_s"] == 20
    assert numbers["total"]["per_second"] == pytest.approx(1000, rel=0.03)


async def test_seconds_that_were_counted_before_a_gap_are_not_told_beside_it() -> None:
    clock = Clock()
    observer = Observer(clock=clock)
    heard(observer)
    clock.now += 1
    await observer.count()
    for number in range(MAX_UNCOUNTED + 500):
        clock.now = 1001 + number / 1000
        heard(observer)
    clock.now += 1
    await observer.count()
    numbers: Any = traffic(observer.window.picture())
    assert numbers["covered_s"] == 20
    clock.now += 1
    await observer.count()
    numbers = traffic(observer.window.picture())
    assert numbers["covered_s"] == 21


def test_what_nobody_counts_takes_up_little() -> None:
    clock = Clock()
    observer = Observer(clock=clock)
    hear = observer.around(lambda _: None)
    line = {"route": "/a", "extension": "acme.crm", "status": 200}
    tracemalloc.start()
    for number in range(2 * MAX_UNCOUNTED):
        clock.now += 0.001
        hear([(0.0, "info", "request_answered", {**line, "duration_ms": number / 1000})])
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 16 * MAX_UNCOUNTED + 600 * MAX_LINES


async def test_counting_a_full_queue_lets_others_work() -> None:
    clock = Clock()
    observer = Observer(clock=clock)
    for _ in range(MAX_UNCOUNTED // 2):
        heard(observer)
    clock.now += 2
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    working = asyncio.create_task(others())
    await observer.count()
    working.cancel()
    assert turns > 10


def test_the_memory_has_an_end() -> None:
    observer = Observer()
    for number in range(3 * MAX_LINES):
        heard(observer, "warning", status=500, request_id=f"r{number}", duration_ms=5000.0)
    assert len(list(observer.lines())) == MAX_LINES
    assert len(list(observer.failures())) == MAX_FAILURES
    assert next(observer.lines()).fields["request_id"] == f"r{3 * MAX_LINES - 1}"
    assert next(observer.slow()).fields["duration_ms"] == 5000.0


def test_the_sink_hears_what_it_heard_before() -> None:
    written: list[object] = []
    entries = [(1.0, "info", "request_answered", finished())]
    Observer().around(written.append)(entries)
    assert written == [entries]


def test_failures_are_grouped_by_code_with_the_page_that_explains_it() -> None:
    observer = Observer()
    heard(observer, status=404, error="asset_not_found", reason="asset_not_found")
    for number in range(2):
        heard(observer, "warning", status=503, error="runner_unreachable", request_id=f"r{number}")
    heard(observer, status=418)
    heard(observer, event="request_abandoned", reason="client_gone", status=200)
    heard(observer)
    groups: list[Any] = failures(observer)
    assert {group["code"]: (group["count"], group["page"]) for group in groups} == {
        "runner_unreachable": (2, "problems/runner_unreachable.html"),
        "asset_not_found": (1, "problems/asset_not_found.html"),
        "answered_418": (1, None),
        "client_gone": (1, None),
    }
    assert groups[0]["code"] == "runner_unreachable"
    assert groups[0]["last"]["request_id"] == "r1"
    assert groups[0]["title"] == PROBLEMS["runner_unreachable"].title
