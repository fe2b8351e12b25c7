"""POST /v1/execute: an envelope goes out once, and what comes back is a result or a reason."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from backends.errors import (
    BackendError,
    Phase,
    RunnerOverloaded,
    RunnerProtocolError,
    RunnerRefusedSize,
    RunnerTimeout,
    RunnerUnreachable,
)
from backends.upstream.runner_client import RunnerClient
from tests.backends.calls import asset_request, execute_request
from tests.backends.upstream.clients import open_client
from tests.fakes.raw_runner import RawRunner, Step, chunked, hang, head, response, send, trickle
from tests.fakes.runner import Envelope, FakeRunner, HttpAnswer


@pytest.fixture
async def runner() -> AsyncIterator[FakeRunner]:
    async with FakeRunner() as runner:
        yield runner


@pytest.fixture
async def client(runner: FakeRunner) -> AsyncIterator[RunnerClient]:
    client = open_client(f"{runner.url}/base/")
    yield client
    await client.aclose()


async def test_an_envelope_goes_to_the_execute_route_under_the_base_path(
    client: RunnerClient, runner: FakeRunner
) -> None:
    await client.execute(execute_request(idempotency_key="key-1", service_token="s3cret"))
    (received,) = runner.received
    assert (received.method, received.target) == ("POST", "/base/v1/execute")
    assert received.guest_body == b"hello"
    assert received.envelope["context"]["tenant_id"] == "tenant-1"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["x-alga-tenant"] == "tenant-1"
    assert received.headers["x-idempotency-key"] == "key-1"
    assert received.headers["x-runner-service-token"] == "s3cret"


async def test_a_guests_answer_is_the_envelopes_and_not_the_transports(
    client: RunnerClient, runner: FakeRunner
) -> None:
    runner.script.append(
        Envelope(status=418, headers={"Content-Type": "text/teapot"}, body=b"short and stout")
    )
    result = await client.execute(execute_request())
    assert (result.status, result.body) == (418, b"short and stout")
    assert result.headers == (("content-type", "text/teapot"),)


async def test_a_handler_may_think_for_longer_than_a_file_may(runner: FakeRunner) -> None:
    client = open_client(runner.url, first_byte_s=0.05)
    runner.may_answer.clear()
    call = asyncio.create_task(client.execute(execute_request()))
    await runner.asked.get()
    with pytest.raises(RunnerTimeout):
        await client.fetch_asset(asset_request())
    assert not call.done()
    runner.may_answer.set()
    assert (await call).status == 200
    await client.aclose()


async def test_an_error_in_the_envelope_keeps_its_class_and_loses_its_detail(
    client: RunnerClient, runner: FakeRunner
) -> None:
    runner.script.append(Envelope(status=500, error="execute_failed: /srv/secret/path"))
    result = await client.execute(execute_request())
    assert (result.status, result.error, result.body) == (500, "execute_failed", None)


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (400, RunnerProtocolError, "unexpected_status_400"),
        (401, RunnerProtocolError, "runner_refused_credentials"),
        (403, RunnerProtocolError, "runner_refused_credentials"),
        (404, RunnerProtocolError, "unexpected_status_404"),
        (413, RunnerRefusedSize, "runner_said_413"),
        (422, RunnerProtocolError, "unexpected_status_422"),
        (429, RunnerOverloaded, "runner_said_429"),
        (500, RunnerProtocolError, "unexpected_status_500"),
        (502, RunnerProtocolError, "unexpected_status_502"),
        (503, RunnerOverloaded, "runner_said_503"),
        (504, RunnerTimeout, "first_byte_timeout"),
        (204, RunnerProtocolError, "unexpected_status_204"),
        (307, RunnerProtocolError, "unexpected_status_307"),
    ],
)
async def test_a_refusal_becomes_a_reason_without_the_runners_words(
    client: RunnerClient, runner: FakeRunner, status: int, kind: type[BackendError], reason: str
) -> None:
    body = b"" if status == 204 else b"dial tcp 10.0.0.1: s3cret"
    runner.script.append(HttpAnswer(status=status, body=body, headers={"location": "/x"}))
    with pytest.raises(kind) as caught:
        await client.execute(execute_request())
    assert type(caught.value) is kind
    assert caught.value.reason == reason
    assert "s3cret" not in repr(caught.value)
    assert len(runner.received) == 1


async def test_a_short_refusal_leaves_its_connection_usable_and_a_long_one_does_not(
    client: RunnerClient, runner: FakeRunner
) -> None:
    for size, connections in ((100, 1), (10**7, 1), (0, 2)):
        runner.script.append(HttpAnswer(status=500, body=b"x" * size))
        with pytest.raises(RunnerProtocolError):
            await client.execute(execute_request())
        assert runner.connections == connections


@pytest.mark.parametrize(
    ("asked", "kept"),
    [("7", 7), ("0", 1), ("86400", 60), ("-1", 1), ("soon", 1), ("", 1), ("\uff19", 1)],
)
async def test_how_long_to_wait_is_passed_on_within_bounds(
    client: RunnerClient, runner: FakeRunner, asked: str, kept: int
) -> None:
    runner.script.append(HttpAnswer(status=503, headers={"Retry-After": asked}))
    with pytest.raises(RunnerOverloaded) as caught:
        await client.execute(execute_request())
    assert caught.value.retry_after_s == kept


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (send(response(b"not json")), "answer_not_json"),
        (send(response(b"[]")), "answer_not_an_object"),
        (send(response(b'{"headers":{}}')), "answer_without_http_status"),
        (send(response(b'{"status":200,"body_b64":"%"}')), "answer_body_not_base64"),
        pytest.param(
            send(response(b'{"status":200', length=99), then="close"),
            "truncated_answer",
            id="short",
        ),
        (send(chunked(b'{"status":200}', end=False), then="close"), "truncated_answer"),
        pytest.param(hang(response(length=3000)), "answer_too_large", id="announced"),
        (send(chunked(*[b"x" * 700] * 3)), "answer_too_large"),
        (
            send(response(b"\x1f\x8b", fields=[("Content-Encoding", "gzip")])),
            "unsupported_content_coding",
        ),
        (send(head("200 OK", [("A", "b" * 20_000)])), "upstream_header_too_large"),
    ],
)
async def test_an_answer_that_is_not_the_protocol_has_a_reason(step: Step, reason: str) -> None:
    async with RawRunner(step) as raw:
        client = open_client(raw.url, max_answer_bytes=2000)
        with pytest.raises(RunnerProtocolError) as caught:
            await client.execute(execute_request())
        assert client.stats().connections_in_use == 0
        await client.aclose()
    assert caught.value.reason == reason


async def test_a_refusal_whose_body_never_ends_is_told_without_waiting_for_it() -> None:
    stalled = response(b"so", status="503 Service Unavailable", length=99)
    async with RawRunner(hang(stalled)) as raw:
        client = open_client(raw.url)
        async with asyncio.timeout(2):  # the call itself has five
            with pytest.raises(RunnerOverloaded):
                await client.execute(execute_request())
        await client.aclose()


@pytest.mark.parametrize(
    "step", [hang(), trickle(response(b"", length=10**6))], ids=["silent", "trickling"]
)
async def test_the_whole_call_ends_within_its_budget(step: Step) -> None:
    async with RawRunner(step) as raw:
        client = open_client(raw.url)
        with pytest.raises(RunnerTimeout) as caught:
            await client.execute(execute_request(timeout_s=0.15))
        assert await raw.left.get() == 1
        await client.aclose()
    assert caught.value.phase is Phase.TOTAL


@pytest.mark.parametrize("then", ["close", "reset"])
async def test_a_call_whose_fate_is_unknown_is_never_sent_again(then: str) -> None:
    async with RawRunner(send(response(b'{"status":200}')), send(then=then)) as raw:
        client = open_client(raw.url)
        await client.execute(execute_request())
        with pytest.raises(RunnerProtocolError, match="connection_lost_before_answer"):
            await client.execute(execute_request())
        assert len(raw.requests) == 2
        assert client.stats().retries == 0
        await client.aclose()


async def test_a_runner_that_is_gone_is_unreachable_and_then_back(
    client: RunnerClient, runner: FakeRunner
) -> None:
    await client.execute(execute_request())
    await runner.stop()
    with pytest.raises(RunnerUnreachable, match="connection_refused"):
        await client.execute(execute_request())
    await runner.start()
    assert (await client.execute(execute_request())).status == 200


async def test_a_caller_that_leaves_takes_the_runners_request_with_it(
    client: RunnerClient, runner: FakeRunner
) -> None:
    runner.may_answer.clear()
    calling = asyncio.create_task(client.execute(execute_request()))
    await runner.asked.get()
    calling.cancel()
    await runner.abandoned.wait()
    with pytest.raises(asyncio.CancelledError):
        await calling
