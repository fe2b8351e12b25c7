"""The console's data: what is measured, who may see it, and how it reaches a viewer."""

import asyncio
import json
import re
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import ClientResponse
from hypothesis import given
from hypothesis import strategies as st

from gateway.console.feed import HEARTBEAT, MAX_VIEWERS, Feed
from gateway.console.observer import MAX_FAILURES, MAX_LINES, MAX_UNCOUNTED, Observer
from gateway.console.sections import Sections
from gateway.console.tally import BUCKETS, Tally, bucket_of, duration_of
from gateway.console.traffic import failures, traffic
from gateway.console.window import MAX_GROUPS, REST, WINDOW_S, Window
from gateway.problems import PROBLEMS
from gateway.routes.table import GATEWAY_ROUTES
from tests.fakes.runner import Envelope, FakeRunner
from tests.gateway.harness import Gateway, in_front_of, running

TOKEN = "an-admin-token-for-tests"
HELLO = "/api/ext/acme.crm/hello"
SNAPSHOT = "/gateway/v1/console/snapshot"
LIVE = "/gateway/v1/console/live"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def finished(**more: object) -> dict[str, object]:
    """The log line of a request."""
    return {"request_id": "r", "route": "/a", "status": 200, "duration_ms": 10.0, **more}


def heard(observer: Observer, level: str = "info", **more: object) -> None:
    event = str(more.pop("event", "request_answered"))
    observer.around(lambda _: None)([(time.time(), level, event, finished(**more))])


async def get(gateway: Gateway, path: str, **headers: str) -> tuple[int, Any]:
    async with gateway.client.get(gateway.url + path, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


async def next_sections(answer: ClientResponse) -> dict[str, Any]:
    """The data of the next event of a stream."""
    async with asyncio.timeout(10):
        while True:
            line = await answer.content.readline()
            assert line, "the stream has ended"
            if line.startswith(b"data: "):
                sections: dict[str, Any] = json.loads(line[6:])
                return sections


@asynccontextmanager
async def viewer(gateway: Gateway, **headers: str) -> AsyncIterator[ClientResponse]:
    async with gateway.client.get(gateway.url + LIVE, headers=headers) as answer:
        assert answer.status == 200
        yield answer


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


async def test_the_page_is_for_anybody_and_its_policy_lets_nothing_foreign_in(
    runner: FakeRunner,
) -> None:
    async with running(in_front_of(runner, GATEWAY_ADMIN_TOKEN=TOKEN)) as gateway:
        async with gateway.client.get(f"{gateway.url}/gateway/") as answer:
            page = await answer.text()
        assert (answer.status, answer.content_type) == (200, "text/html")
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert TOKEN not in page
        assert runner.url not in page
        assert re.findall(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|https?://", page) == []
        for file in re.findall(r'(?:src|href)="(static/[^"]+)"', page):
            async with gateway.client.get(f"{gateway.url}/gateway/{file}") as found:
                assert found.status == 200, file


async def test_every_data_route_asks_for_the_admin_token(runner: FakeRunner) -> None:
    paths = [route.path for route in GATEWAY_ROUTES if "/v1/console/" in route.path]
    assert len(paths) == 3
    async with running(in_front_of(runner, GATEWAY_ADMIN_TOKEN=TOKEN)) as gateway:
        for path in paths:
            status, problem = await gateway.problem("GET", path)
            assert (status, problem["error"]) == (401, "unauthenticated")
        status, _ = await get(gateway, SNAPSHOT, **{"X-Gateway-Admin-Token": TOKEN})
        assert status == 200


async def test_a_page_of_another_site_cannot_read_the_data(gateway: Gateway) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        status, problem = await gateway.problem("GET", SNAPSHOT, headers=headers)
        assert (status, problem["error"]) == (403, "forbidden")


async def test_the_snapshot_shows_backend_installs_settings_and_no_secret(
    runner: FakeRunner,
) -> None:
    async with running(in_front_of(runner, GATEWAY_ADMIN_TOKEN=TOKEN)) as gateway:
        async with gateway.client.get(gateway.url + HELLO, headers={"X-Request-Id": f"id-{TOKEN}"}):
            pass
        status, shown = await get(gateway, SNAPSHOT, **{"X-Gateway-Admin-Token": TOKEN})
    assert status == 200
    assert (shown["backend"]["kind"], shown["backend"]["generation"]) == ("docker", 1)
    (install,) = shown["extensions"]["installs"]
    assert install["slug"] == "acme.crm"
    assert {"method": "POST", "path": "/echo"} in install["endpoints"]
    assert install["preview"].startswith("/runner/ext-ui/registry-1/sha256")
    assert "gold" not in str(install), "an install's configuration is its tenant's own"
    rows = {row["variable"]: row for row in shown["settings"]}
    assert rows["RUNNER_SERVICE_TOKEN"]["value"] == "(set)"
    assert rows["RUNNER_DOCKER_HOST"]["origin"] == "environment"
    assert rows["GATEWAY_PORT"]["origin"] == "default"
    assert shown["lines"][0]["request_id"] == "id-***"
    assert TOKEN not in str(shown)
    assert "a-service-token-for-tests" not in str(shown)


async def test_lines_are_found_by_the_beginning_of_their_request_id(gateway: Gateway) -> None:
    for request_id in ("abc-1", "abc-2", "other"):
        async with gateway.client.get(gateway.url + HELLO, headers={"X-Request-Id": request_id}):
            pass
    _, found = await get(gateway, "/gateway/v1/console/lines?request_id=abc")
    assert [line["request_id"] for line in found["lines"]] == ["abc-2", "abc-1"]
    assert found["lines"][0]["route"] == "/api/ext/{extension}/{path}"
    # Looking leaves no trace, or there would soon be nothing else to look at.
    await get(gateway, SNAPSHOT, **{"X-Request-Id": "looking"})
    assert (await get(gateway, "/gateway/v1/console/lines?request_id=looking"))[1]["lines"] == []
    for query in ("", "?request_id=", f"?request_id={'x' * 129}"):
        status, problem = await gateway.problem("GET", f"/gateway/v1/console/lines{query}")
        assert (status, problem["error"]) == (400, "invalid_request")


async def test_a_viewer_gets_everything_and_then_what_changes(
    gateway: Gateway, runner: FakeRunner
) -> None:
    async with viewer(gateway) as stream:
        assert stream.content_type == "text/event-stream"
        assert stream.headers["Cache-Control"] == "no-cache, no-transform"
        first = await next_sections(stream)
        assert {"backend", "health", "receipts", "traffic", "extensions", "settings"} <= set(first)
        runner.script.append(Envelope(error="execute_failed"))
        async with gateway.client.get(gateway.url + HELLO) as failed:
            assert failed.status == 502
        told: dict[str, Any] = {}
        while "failures" not in told or not told["traffic"]["total"]["errors"]:
            told |= await next_sections(stream)
        assert "settings" not in told
        assert told["failures"][0]["code"] == "extension_failed"
        assert told["traffic"]["extensions"][0]["name"] == "registry-1"


async def test_a_viewer_sees_the_swap_and_its_receipt(gateway: Gateway) -> None:
    async with FakeRunner() as other, viewer(gateway) as stream:
        await next_sections(stream)
        gateway.environ["RUNNER_DOCKER_HOST"] = other.url
        async with gateway.client.post(f"{gateway.url}/gateway/v1/reload"):
            pass
        told: dict[str, Any] = {}
        while not {"backend", "receipts", "settings"} <= set(told):
            told |= await next_sections(stream)
        assert told["backend"]["generation"] == 2
        assert told["receipts"][0]["outcome"] == "switched"


async def test_what_runs_is_shown_without_the_console_itself(
    gateway: Gateway, runner: FakeRunner
) -> None:
    runner.may_answer.clear()
    slow = asyncio.create_task(gateway.client.get(gateway.url + HELLO))
    while not (await runner.asked.get()).target.endswith("/v1/execute"):
        pass
    async with viewer(gateway) as stream:
        shown = await next_sections(stream)
    runner.may_answer.set()
    (await slow).close()
    assert shown["in_flight"]["routes"] == [{"route": "/api/ext/{extension}/{path}", "count": 1}]
    (longest,) = shown["in_flight"]["longest"]
    assert datetime.fromisoformat(longest.pop("since")) <= datetime.now(UTC)
    assert longest.pop("request_id") == runner.executed[-1].headers["x-request-id"]
    assert longest == {
        "method": "GET",
        "route": "/api/ext/{extension}/{path}",
        "extension": "registry-1",
    }
    assert shown["backend"]["in_flight"] == 1


async def test_one_viewer_too_many_is_told_to_come_back(gateway: Gateway) -> None:
    async with AsyncExitStack() as viewers:
        for _ in range(MAX_VIEWERS):
            await viewers.enter_async_context(viewer(gateway))
        async with gateway.client.get(gateway.url + LIVE) as refused:
            assert refused.status == 503
            assert "Retry-After" in refused.headers
    # The places are free as soon as the gateway has noticed that their viewers left.
    async with asyncio.timeout(10):
        status = 503
        while status == 503:
            async with gateway.client.get(gateway.url + LIVE) as again:
                status = again.status
    assert status == 200


async def test_a_new_admin_token_ends_the_streams_of_the_old_one(runner: FakeRunner) -> None:
    async with (
        running(in_front_of(runner, GATEWAY_ADMIN_TOKEN=TOKEN)) as gateway,
        viewer(gateway, **{"X-Gateway-Admin-Token": TOKEN}) as stream,
    ):
        await next_sections(stream)
        gateway.environ["GATEWAY_ADMIN_TOKEN"] = f"another-{TOKEN}"
        right = {"X-Gateway-Admin-Token": TOKEN}
        async with gateway.client.post(f"{gateway.url}/gateway/v1/reload", headers=right) as said:
            assert (await said.json())["outcome"] == "switched"
        async with asyncio.timeout(10):
            rest = await stream.read()
        assert b'"generation":2' not in rest


async def test_stopping_ends_the_streams_at_once(gateway: Gateway) -> None:
    async with viewer(gateway) as stream:
        await next_sections(stream)
        await gateway.app.shutdown()
        async with asyncio.timeout(10):
            await stream.read()


async def test_head_is_answered_without_a_stream(gateway: Gateway) -> None:
    async with asyncio.timeout(10), gateway.client.head(gateway.url + LIVE) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"


async def test_while_nothing_changes_only_heartbeats_are_sent() -> None:
    gathered = 0

    async def gather() -> Sections:
        nonlocal gathered
        gathered += 1
        return {"same": [1, 2], "also": gathered > 3}

    feed = Feed(gather, every_s=0.001, heartbeat_s=0.002)
    said: list[bytes] = []
    async for event in feed.events():
        said.append(event)
        if len(said) > 3 and event == HEARTBEAT:
            feed.stop()
    assert said[0] == b'event: sections\ndata: {"same":[1,2],"also":false}\n\n'
    changes = [event for event in said[1:] if event != HEARTBEAT]
    assert changes == [b'event: sections\ndata: {"also":true}\n\n']
