"""UI files: the same bytes, our caching, and a tenant nobody can choose."""

import asyncio
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import ClientError
from yarl import URL

from gateway.routes import heartbeats
from tests.fakes.raw_runner import RawRunner, Wire, head, response, send
from tests.fakes.runner import FakeRunner, HttpAnswer, UiFile
from tests.gateway.harness import HASH, Gateway, running

PAGE = f"/runner/ext-ui/registry-1/{HASH}/index.html"
SCRIPT = f"/runner/ext-ui/registry-1/{HASH}/app.js"
KEY = "a-long-enough-proxy-key"


async def test_a_page_may_be_kept_and_must_be_asked_about(gateway: Gateway) -> None:
    async with gateway.client.get(gateway.url + PAGE) as answer:
        assert answer.status == 200
        assert answer.headers["cache-control"] == "no-cache"
        assert "default-src" in answer.headers["content-security-policy"]
        assert answer.headers["x-runner-backend"] == "docker"
        etag = answer.headers["etag"]
    async with gateway.client.get(gateway.url + PAGE, headers={"If-None-Match": etag}) as answer:
        assert answer.status == 304  # which replaces what the browser has noted of the page
        assert answer.headers["cache-control"] == "no-cache"


async def test_everything_else_never_changes_under_its_address(gateway: Gateway) -> None:
    async with gateway.client.get(gateway.url + SCRIPT) as answer:
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        etag = answer.headers["etag"]
    headers = {"If-None-Match": etag}
    async with gateway.client.get(gateway.url + SCRIPT, headers=headers) as answer:
        assert answer.status == 304
        assert answer.headers["etag"] == etag
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert "content-length" not in answer.headers
        assert await answer.read() == b""


async def test_the_short_address_is_the_same_file(gateway: Gateway) -> None:
    short = SCRIPT.removeprefix("/runner").replace(":", "%3A")
    async with gateway.client.get(URL(gateway.url + short, encoded=True)) as answer:
        assert await answer.read() == b"console.log('hello');"


@pytest.mark.parametrize("mount", ["/runner", ""])
async def test_a_bundles_folder_is_its_page_whatever_the_runner_has_there(
    gateway: Gateway, runner: FakeRunner, mount: str
) -> None:
    folder = mount + PAGE.removeprefix("/runner").removesuffix("index.html")
    async with gateway.client.get(f"{gateway.url}{folder}?path=%2F") as answer:
        assert answer.status == 200
        assert await answer.read() == runner.files["index.html"].body
        assert answer.headers["cache-control"] == "no-cache"
    assert urlsplit(runner.assets[-1].target).path.endswith("/index.html")
    told, problem = await gateway.problem("GET", folder.removesuffix("/"))
    assert (told, problem["error"]) == (404, "not_found")


async def test_head_has_the_length_and_no_body(gateway: Gateway) -> None:
    async with gateway.client.head(gateway.url + SCRIPT) as answer:
        assert answer.status == 200
        assert answer.headers["content-length"] == "21"
        assert await answer.read() == b""


async def test_a_range_is_answered_in_part(gateway: Gateway) -> None:
    async with gateway.client.get(gateway.url + SCRIPT, headers={"Range": "bytes=0-6"}) as answer:
        assert answer.status == 206
        assert answer.headers["content-range"] == "bytes 0-6/21"
        assert await answer.read() == b"console"
    async with gateway.client.get(gateway.url + SCRIPT, headers={"Range": "bytes=99-"}) as answer:
        assert answer.status == 416
        assert answer.headers["content-range"] == "bytes */21"
        assert answer.headers["cache-control"] == "no-store"


async def test_a_large_file_streams_through_unchanged(gateway: Gateway, runner: FakeRunner) -> None:
    body = bytes(range(256)) * 8192
    runner.files["big.png"] = UiFile(body=body, content_type="image/png")
    url = gateway.url + SCRIPT.replace("app.js", "big.png")
    async with gateway.client.get(url) as answer:
        assert answer.headers["content-length"] == str(len(body))
        assert await answer.read() == body
    assert gateway.live.slot.current.in_flight == 0


async def test_compressed_bytes_are_not_touched(gateway: Gateway, runner: FakeRunner) -> None:
    runner.files["a.js"] = UiFile(
        body=b"\x1f\x8bnot really gzip",
        content_type="text/javascript",
        headers={"content-encoding": "gzip", "vary": "accept-encoding", "set-cookie": "a=b"},
    )
    async with gateway.client.get(gateway.url + SCRIPT.replace("app.js", "a.js")) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        assert await answer.read() == b"\x1f\x8bnot really gzip"
        assert "set-cookie" not in answer.headers


async def test_a_body_cut_short_is_seen_to_be_cut_short() -> None:
    promised = head("200 OK", [("Content-Type", "image/png"), ("Content-Length", "200000")])
    breaks_off = send(promised + b"x" * 100_000, then="close")
    # Twice: the background probe may come first.
    async with (
        RawRunner(breaks_off, breaks_off) as raw,
        running({"RUNNER_BASE_URL": raw.url}) as gateway,
    ):
        with pytest.raises(ClientError):
            async with gateway.client.get(gateway.url + SCRIPT) as answer:
                await answer.read()


EVENTS = ("Content-Type", "text/event-stream")


@pytest.mark.parametrize(
    ("fields", "begun", "is_filled"),
    [
        ([EVENTS], b"", True),
        ([EVENTS], b"data: 1\n", True),
        ([EVENTS], b"data: 1", False),  # it would become a part of the data
        ([EVENTS], b"data: 1\r", False),  # with the next byte it would end an event
        ([EVENTS, ("Content-Encoding", "gzip")], b"\x1f\n", False),
        ([("Content-Type", "text/plain")], b"data: 1\n", False),
    ],
    ids=["nothing yet", "between lines", "in a line", "after CR", "coded", "no events"],
)
async def test_silence_is_filled_where_that_changes_no_event(
    monkeypatch: pytest.MonkeyPatch, fields: list[tuple[str, str]], begun: bytes, is_filled: bool
) -> None:
    monkeypatch.setattr(heartbeats, "HEARTBEAT_S", 0.02)
    may_go_on = asyncio.Event()

    async def pauses(wire: Wire) -> None:
        if "/ext-ui/" not in runner.requests[-1].target:
            await wire.send(response(b"{}", fields=[("Content-Type", "application/json")]))
            return
        await wire.send(head(fields=fields) + begun)
        await may_go_on.wait()
        await wire.send(b"data: 2\n\n")
        wire.close()

    async with (
        RawRunner(pauses) as runner,
        running({"RUNNER_BASE_URL": runner.url}) as gateway,
        gateway.client.get(gateway.url + SCRIPT, auto_decompress=False) as answer,
    ):
        read = await answer.content.readexactly(len(begun))
        if is_filled:
            read += await answer.content.readexactly(2 * len(heartbeats.HEARTBEAT))
        else:
            await asyncio.sleep(0.2)  # ten times as long as a word would have taken
        may_go_on.set()
        read += await answer.read()
    assert (heartbeats.HEARTBEAT in read) is is_filled
    assert read.replace(heartbeats.HEARTBEAT, b"") == begun + b"data: 2\n\n"


def test_a_stream_of_known_length_takes_no_additions() -> None:
    events = (("content-type", "text/event-stream"),)
    assert heartbeats.may_have_heartbeats(events)
    assert not heartbeats.may_have_heartbeats((*events, ("content-length", "17")))


async def test_who_leaves_a_silent_stream_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heartbeats, "HEARTBEAT_S", 0.02)

    async def silent(wire: Wire) -> None:
        if "/ext-ui/" in runner.requests[-1].target:
            await wire.send(head(fields=[EVENTS]))
            await wire.reader.read()
        else:
            await wire.send(response(b"{}", fields=[("Content-Type", "application/json")]))

    async with RawRunner(silent) as runner, running({"RUNNER_BASE_URL": runner.url}) as gateway:
        async with gateway.client.get(gateway.url + SCRIPT) as answer:
            await answer.content.readexactly(len(heartbeats.HEARTBEAT))
            answer.close()
        async with asyncio.timeout(10):
            await runner.left.get()
            while gateway.live.slot.current.in_flight:  # noqa: ASYNC110  it counts, tells nobody
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (SCRIPT.replace("app.js", "missing.js"), 404, "asset_not_found"),
        (SCRIPT.replace("app.js", ".hidden"), 400, "invalid_path"),
        (SCRIPT.replace(HASH, "sha256:12"), 400, "invalid_content_hash"),
        ("/runner/healthz", 404, "not_found"),
        ("/runner/", 404, "not_found"),
    ],
    ids=["missing", "hidden", "short-hash", "health", "root"],
)
async def test_what_is_no_file_is_a_problem(
    gateway: Gateway, path: str, status: int, code: str
) -> None:
    told, problem = await gateway.problem("GET", path)
    assert (told, problem["error"]) == (status, code)


async def test_a_failure_is_kept_by_nobody(gateway: Gateway, runner: FakeRunner) -> None:
    runner.asset_script.append(HttpAnswer(status=500, body=b"s3cret"))
    status, problem = await gateway.problem("GET", SCRIPT)
    assert (status, problem["error"]) == (502, "bad_gateway")
    assert "s3cret" not in str(problem)


async def test_why_the_runner_failed_is_told_where_it_names_the_cause(
    gateway: Gateway, runner: FakeRunner
) -> None:
    runner.asset_script.append(HttpAnswer(status=502, body=b'{"code":"archive_hash_mismatch"}'))
    status, problem = await gateway.problem("GET", SCRIPT)
    assert (status, problem["error"]) == (502, "bad_gateway")
    assert problem["reason"] == "archive_hash_mismatch"
    assert problem["detail"].endswith(": archive hash mismatch.")


async def test_a_file_that_is_too_large_for_the_runner_is_413(
    gateway: Gateway, runner: FakeRunner
) -> None:
    runner.asset_script.append(HttpAnswer(status=413, body=b"asset too large"))
    status, problem = await gateway.problem("GET", SCRIPT)
    assert (status, problem["error"]) == (413, "payload_too_large")
    assert problem["reason"] == "runner_said_413"


async def test_a_redirect_stays_under_the_public_base_and_keeps_the_query(
    gateway: Gateway, runner: FakeRunner
) -> None:
    runner.redirects["old"] = f"/ext-ui/registry-1/{HASH}/index.html?tenant=dev"
    url = f"{gateway.url}{PAGE.replace('index.html', 'old')}?parentOrigin=https%3A%2F%2Fa&_h=1"
    async with gateway.client.get(url, allow_redirects=False) as answer:
        assert answer.status == 307
        assert answer.headers["cache-control"] == "no-store"
        location = urlsplit(answer.headers["location"])
    assert location.path == f"/runner/ext-ui/registry-1/{HASH}/index.html"
    assert parse_qs(location.query)["parentOrigin"] == ["https://a"]
    assert parse_qs(location.query)["_h"] == ["1"]
