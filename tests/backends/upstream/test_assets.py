"""UI files: the client's own bytes go out, and only a whole file comes back as one."""

from collections.abc import AsyncIterator

import pytest

from backends.contract import AssetResponse, ByteStream
from backends.errors import (
    AssetNotFound,
    AssetPathRefused,
    BackendError,
    Phase,
    RunnerOverloaded,
    RunnerProtocolError,
    RunnerRefusedSize,
    RunnerTimeout,
)
from backends.upstream.runner_client import RunnerClient
from tests.backends.calls import asset_request
from tests.backends.upstream.clients import open_client
from tests.fakes.raw_runner import RawRunner, hang, head, response, send, trickle
from tests.fakes.runner import FakeRunner, HttpAnswer, UiFile

BASE = "/ext-ui/ext-1/sha256%3A" + "5a" * 32


@pytest.fixture
async def runner() -> AsyncIterator[FakeRunner]:
    async with FakeRunner() as runner:
        yield runner


@pytest.fixture
async def client(runner: FakeRunner) -> AsyncIterator[RunnerClient]:
    client = open_client(runner.url)
    yield client
    await client.aclose()


async def collect(response: AssetResponse) -> bytes:
    if isinstance(response.body, bytes):
        return response.body
    return b"".join([chunk async for chunk in response.body])


@pytest.mark.parametrize(
    ("path", "query", "target"),
    [
        ("index.html", "", f"{BASE}/index.html"),
        ("", "", f"{BASE}/"),
        ("a%20b/c%2Cd.js", "", f"{BASE}/a%20b/c%2Cd.js"),
        ("a//b.js", "", f"{BASE}/a//b.js"),
        ("app.js", "x=%2e%2e/&y=?z", f"{BASE}/app.js?x=%2e%2e/&y=?z"),
    ],
)
async def test_path_and_query_go_out_as_the_client_wrote_them(
    client: RunnerClient, runner: FakeRunner, path: str, query: str, target: str
) -> None:
    runner.asset_script.append(HttpAnswer())
    await client.fetch_asset(asset_request(path, query=query))
    assert runner.received[0].target == target


@pytest.mark.parametrize(
    "path",
    ["../x", "a/%2e%2e/b", "a%2fb", ".git/config", "a\\b", "a b", "a#b", "a?b", "é", "a\r\n"],
)
async def test_a_path_that_could_mean_something_else_never_leaves(
    client: RunnerClient, runner: FakeRunner, path: str
) -> None:
    with pytest.raises(AssetPathRefused):
        await client.fetch_asset(asset_request(path))
    assert runner.received == []


@pytest.mark.parametrize("query", ["a b", "a#b", "a\r\nb", "é"])
async def test_a_query_that_no_target_can_hold_never_leaves(
    client: RunnerClient, runner: FakeRunner, query: str
) -> None:
    with pytest.raises(AssetPathRefused):
        await client.fetch_asset(asset_request(query=query))
    assert runner.received == []


async def test_ids_cannot_leave_their_segment(client: RunnerClient, runner: FakeRunner) -> None:
    runner.asset_script.append(HttpAnswer())
    await client.fetch_asset(asset_request(extension_id="../e?x#y", content_hash="a/b"))
    assert runner.received[0].target == "/ext-ui/..%2Fe%3Fx%23y/a%2Fb/index.html"


async def test_a_small_file_comes_as_bytes_with_its_validators(
    client: RunnerClient, runner: FakeRunner
) -> None:
    answer = await client.fetch_asset(asset_request("app.js"))
    names = dict(answer.headers)
    assert answer.status == 200
    assert answer.body == runner.files["app.js"].body
    assert names["etag"] == runner.files["app.js"].etag
    assert names["x-content-type-options"] == "nosniff"
    assert not {"cache-control", "server", "date", "set-cookie"} & names.keys()


async def test_a_large_file_streams(client: RunnerClient, runner: FakeRunner) -> None:
    body = bytes(range(256)) * 2000
    runner.files["big.js"] = UiFile(body=body, content_type="text/javascript")
    answer = await client.fetch_asset(asset_request("big.js"))
    assert not isinstance(answer.body, bytes)
    assert await collect(answer) == body


@pytest.mark.parametrize("size", [21, 200_000])
async def test_a_head_request_announces_what_a_get_would_send(
    client: RunnerClient, runner: FakeRunner, size: int
) -> None:
    runner.files["app.js"] = UiFile(body=b"x" * size)
    answer = await client.fetch_asset(asset_request("app.js", method="HEAD"))
    assert (answer.body, dict(answer.headers)["content-length"]) == (b"", str(size))


async def test_a_validator_that_still_holds_is_304_without_a_body(
    client: RunnerClient, runner: FakeRunner
) -> None:
    etag = runner.files["app.js"].etag
    answer = await client.fetch_asset(asset_request("app.js", headers=(("if-none-match", etag),)))
    assert (answer.status, answer.body, dict(answer.headers)["etag"]) == (304, b"", etag)


async def test_a_range_is_relayed(client: RunnerClient, runner: FakeRunner) -> None:
    answer = await client.fetch_asset(asset_request("app.js", headers=(("range", "bytes=0-6"),)))
    assert (answer.status, answer.body) == (206, b"console")
    assert dict(answer.headers)["content-range"] == "bytes 0-6/21"


async def test_a_range_beyond_the_file_keeps_its_size_and_loses_the_runners_text(
    client: RunnerClient, runner: FakeRunner
) -> None:
    answer = await client.fetch_asset(asset_request("app.js", headers=(("range", "bytes=99-"),)))
    names = dict(answer.headers)
    assert (answer.status, answer.body, names["content-range"]) == (416, b"", "bytes */21")
    assert not {"content-length", "content-type"} & names.keys()


async def test_tenant_and_token_travel_with_every_file(
    client: RunnerClient, runner: FakeRunner
) -> None:
    await client.fetch_asset(asset_request(service_token="s3cret"))
    received = runner.received[0]
    assert received.headers["x-tenant-id"] == "tenant-1"
    assert received.headers["x-runner-service-token"] == "s3cret"
    assert received.headers["x-request-id"] == "req-2"


async def test_a_redirect_leads_under_the_public_base_and_keeps_the_callers_query(
    client: RunnerClient, runner: FakeRunner
) -> None:
    runner.redirects["old.html"] = f"{BASE}/new.html?tenant=t"
    answer = await client.fetch_asset(
        asset_request("old.html", query="parentOrigin=https%3A%2F%2Fapp&_h=1&tenant=x")
    )
    assert (answer.status, answer.body) == (307, b"")
    location = f"/runner{BASE}/new.html?tenant=t&parentOrigin=https%3A%2F%2Fapp&_h=1"
    assert answer.headers == (("location", location),)


async def test_a_redirect_to_somewhere_else_is_not_passed_on(
    client: RunnerClient, runner: FakeRunner
) -> None:
    runner.redirects["old.html"] = "https://evil.example/ext-ui/e/h/index.html"
    with pytest.raises(RunnerProtocolError, match="redirect_off_origin"):
        await client.fetch_asset(asset_request("old.html"))


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (400, AssetPathRefused, "runner_refused_path"),
        (401, RunnerProtocolError, "runner_refused_credentials"),
        (404, AssetNotFound, "no_such_file"),
        (413, RunnerRefusedSize, "runner_said_413"),
        (500, RunnerProtocolError, "unexpected_status_500"),
        (502, RunnerProtocolError, "unexpected_status_502"),
        (503, RunnerOverloaded, "runner_said_503"),
        (504, RunnerTimeout, "first_byte_timeout"),
        (204, RunnerProtocolError, "unexpected_status_204"),
    ],
)
async def test_every_other_status_is_a_failure_of_its_own_kind(
    client: RunnerClient, runner: FakeRunner, status: int, kind: type[BackendError], reason: str
) -> None:
    runner.asset_script.append(HttpAnswer(status=status))
    with pytest.raises(kind) as caught:
        await client.fetch_asset(asset_request())
    assert (type(caught.value), caught.value.reason) == (kind, reason)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"code":"archive_hash_mismatch"}', "archive_hash_mismatch"),
        (b'{"error":"extract_failed: s3cret"}', "extract_failed"),
        (b'{"error":"bad_gateway","reason":"file_unreadable"}', "file_unreadable"),
        (b'{"code":"No such file: s3cret"}', "unexpected_status_500"),
        (b'{"code":["extract_failed"]}', "unexpected_status_500"),
        (b'"extract_failed"', "unexpected_status_500"),
        (b"extract_failed", "unexpected_status_500"),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_cause_that_a_runner_names_is_taken_over_and_nothing_else_of_its_words(
    body: bytes, reason: str, at_once: bool
) -> None:
    answer = response(body, status="500 Internal Server Error")
    middle = len(answer) - 5
    parts = [answer] if at_once else [answer[:middle], answer[middle:]]
    async with RawRunner(send(*parts)) as raw:
        client = open_client(raw.url)
        with pytest.raises(RunnerProtocolError) as caught:
            await client.fetch_asset(asset_request())
        await client.aclose()
    assert (caught.value.reason, caught.value.phase) == (reason, Phase.FIRST_BYTE)


async def test_a_cause_is_not_waited_for() -> None:
    said = b'{"code":"extract_failed"}'
    beginning = response(said, status="500 Internal Server Error", length=100_000)
    async with RawRunner(hang(beginning)) as raw:
        client = open_client(raw.url)
        with pytest.raises(RunnerProtocolError, match="unexpected_status_500"):
            await client.fetch_asset(asset_request())
        assert await raw.left.get() == 1
        await client.aclose()


async def test_a_stale_connection_costs_a_file_one_more_try() -> None:
    async with RawRunner(send(response(b"one")), send(then="close"), send(response(b"two"))) as raw:
        client = open_client(raw.url)
        await client.fetch_asset(asset_request())
        assert (await client.fetch_asset(asset_request())).body == b"two"
        assert (len(raw.requests), client.stats().retries) == (3, 1)
        await client.aclose()


async def test_a_large_file_that_breaks_off_does_not_end_cleanly() -> None:
    async with RawRunner(send(response(b"x" * 100_000, length=200_000), then="close")) as raw:
        client = open_client(raw.url)
        answer = await client.fetch_asset(asset_request())
        with pytest.raises(RunnerProtocolError, match="truncated_answer") as caught:
            await collect(answer)
        await client.aclose()
    assert caught.value.phase is Phase.BODY


async def test_a_body_of_unknown_length_streams() -> None:
    async with RawRunner(send(head(), b"until the end", then="close")) as raw:
        client = open_client(raw.url)
        answer = await client.fetch_asset(asset_request())
        assert await collect(answer) == b"until the end"
        await client.aclose()


async def test_the_budget_of_a_file_ends_with_its_first_byte() -> None:
    async with RawRunner(hang()) as raw:
        client = open_client(raw.url)
        with pytest.raises(RunnerTimeout) as caught:
            await client.fetch_asset(asset_request(timeout_s=0.1))
        assert caught.value.phase is Phase.TOTAL
        await client.aclose()


async def test_a_small_file_that_trickles_is_due_within_the_budget() -> None:
    """It is collected, so the client has heard nothing of it yet."""
    async with RawRunner(trickle(response(b"", length=1_000), byte=b"x")) as raw:
        client = open_client(raw.url)
        with pytest.raises(RunnerTimeout) as caught:
            await client.fetch_asset(asset_request(timeout_s=0.1))
        assert caught.value.phase is Phase.TOTAL
        assert await raw.left.get() == 1
        await client.aclose()


async def test_a_stream_given_back_early_closes_its_connection() -> None:
    async with RawRunner(hang(response(b"x" * 70_000, length=10**9))) as raw:
        client = open_client(raw.url)
        body = (await client.fetch_asset(asset_request())).body
        assert not isinstance(body, bytes)
        stream: ByteStream = body
        await stream.aclose()
        assert await raw.left.get() == 1
        await client.aclose()
