"""A probe is a judgement in this program's own words, and never an exception."""

import asyncio

import pytest

from backends.contract import Readiness
from tests.backends.calls import execute_request
from tests.backends.upstream.clients import open_client
from tests.fakes.raw_runner import RawRunner, hang, send
from tests.fakes.runner import FakeRunner, HttpAnswer


async def test_a_healthy_runner_is_ready_and_tells_what_it_knows() -> None:
    async with FakeRunner() as runner:
        client = open_client(f"{runner.url}/base")
        health = await client.health()
        await client.aclose()
        assert runner.received[0].target == "/base/healthz"
    assert (health.readiness, health.detail) == (Readiness.READY, "")
    assert health.facts == {"cache_writable": True, "bundle_store": "ok"}
    assert health.latency_ms > 0


@pytest.mark.parametrize(
    ("status", "body", "detail"),
    [
        (503, b'{"cache_writable":false}', "cache_not_writable"),
        (503, b"no", "runner_said_503"),
        (404, b"", "wrong_base_path"),
        (500, b"s3cret", "unexpected_status_500"),
        (403, b"", "runner_refused_credentials"),
        (302, b"", "unexpected_status_302"),
    ],
)
async def test_a_runner_that_is_not_well_is_down_for_a_reason(
    status: int, body: bytes, detail: str
) -> None:
    async with FakeRunner() as runner:
        runner.health = HttpAnswer(status=status, body=body)
        client = open_client(runner.url)
        health = await client.health()
        await client.aclose()
    assert (health.readiness, health.detail) == (Readiness.DOWN, detail)


@pytest.mark.parametrize(
    "body", [b"", b"[1]", b'{"bundle_store":"s3cret","cache_writable":"yes","x":1}']
)
async def test_what_the_protocol_does_not_know_is_not_repeated(body: bytes) -> None:
    async with FakeRunner() as runner:
        runner.health = HttpAnswer(body=body)
        client = open_client(runner.url)
        health = await client.health()
        await client.aclose()
    assert (health.readiness, health.facts) == (Readiness.READY, {})


async def test_a_runner_that_is_gone_is_down() -> None:
    async with FakeRunner() as runner:
        client = open_client(runner.url)
    health = await client.health()
    await client.aclose()
    assert (health.readiness, health.detail) == (Readiness.DOWN, "connection_refused")


async def test_a_runner_that_answers_nonsense_is_down() -> None:
    async with RawRunner(send(b"nonsense\r\n\r\n")) as runner:
        client = open_client(runner.url)
        health = await client.health()
        await client.aclose()
    assert (health.readiness, health.detail) == (Readiness.DOWN, "malformed_answer")


async def test_a_probe_and_a_call_do_not_wait_for_each_other() -> None:
    async with FakeRunner() as runner:
        client = open_client(runner.url)
        runner.may_answer.clear()
        calling = asyncio.create_task(client.execute(execute_request()))
        probing = asyncio.create_task(client.health())
        assert {(await runner.asked.get()).target for _ in range(2)} == {"/v1/execute", "/healthz"}
        runner.may_answer.set()
        assert (await probing).readiness is Readiness.READY
        assert (await calling).status == 200
        await client.aclose()


async def test_a_runner_that_does_not_answer_a_probe_is_down() -> None:
    async with RawRunner(hang()) as runner:
        client = open_client(runner.url, health_budget_s=0.1)
        health = await client.health()
        await client.aclose()
    assert (health.readiness, health.detail) == (Readiness.DOWN, "total_timeout")


async def test_a_pool_without_room_for_a_probe_is_no_verdict_on_the_runner() -> None:
    async with FakeRunner() as runner:
        client = open_client(runner.url, max_connections=1, connect_s=0.1)
        runner.may_answer.clear()
        calling = asyncio.create_task(client.execute(execute_request()))
        await runner.asked.get()
        health = await client.health()
        assert (health.readiness, health.detail) == (
            Readiness.READY,
            "not_probed_pool_exhausted",
        )
        runner.may_answer.set()
        await calling
        await client.aclose()
