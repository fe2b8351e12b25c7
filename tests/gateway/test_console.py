"""The console's data: who may see it, and how it reaches a viewer."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from aiohttp import ClientResponse

from gateway.console.feed import HEARTBEAT, MAX_VIEWERS, Feed
from gateway.console.sections import Sections
from gateway.routes.table import GATEWAY_ROUTES
from tests.fakes.runner import Envelope, FakeRunner
from tests.gateway.harness import INSTALL, Gateway, KnownInstalls, in_front_of, running

TOKEN = "an-admin-token-for-tests"
HELLO = "/api/ext/acme.crm/hello"
SNAPSHOT = "/gateway/v1/console/snapshot"
LIVE = "/gateway/v1/console/live"


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
                assert await found.read(), file


async def test_whoever_opens_the_origin_is_told_where_the_page_is(gateway: Gateway) -> None:
    for method in ("GET", "POST"):
        status, problem = await gateway.problem(method, "/")
        assert (status, problem["error"], problem["reason"]) == (404, "not_found", "not_found")
        assert problem["detail"].endswith(" The console is at /gateway/.")


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


async def test_what_belongs_to_another_tenant_is_neither_tried_nor_opened_as_this_one(
    runner: FakeRunner,
) -> None:
    known = KnownInstalls(
        {tenant: replace(INSTALL, tenant_id=tenant) for tenant in ("acme", "dev")}
    )
    proxy = {"GATEWAY_AUTH": "proxy", "GATEWAY_PROXY_KEY": "a-proxy-key-for-these-tests-only"}
    for told, may_be_tried, may_be_opened in (
        ({}, [False, True], [False, True]),
        (proxy, [False, False], [True, True]),
    ):
        async with running(in_front_of(runner, **told), known) as gateway:
            _, shown = await get(gateway, SNAPSHOT)
            listed = shown["extensions"]["installs"]
            assert [each["tenant"] for each in listed] == ["acme", "dev"]
            assert [each["may_be_tried"] for each in listed] == may_be_tried
            assert [each["preview"] is not None for each in listed] == may_be_opened


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
    await runner.called()
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
