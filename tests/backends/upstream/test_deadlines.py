"""Every wait ends, and the failure says which limit ended it."""

import asyncio
import time

import pytest

from backends.errors import Phase, RunnerTimeout
from backends.upstream.transport import Budget
from tests.backends.upstream.conftest import OpenTransport
from tests.backends.upstream.exchanges import ask
from tests.fakes.raw_runner import RawRunner, Wire, flood, hang, head, response, trickle

SOON = 0.1


def budget(**limits: float) -> Budget:
    patient: dict[str, float] = {"connect_s": 5, "first_byte_s": 5, "idle_s": 5}
    return Budget(**(patient | limits))


async def timeout_of(open_transport: OpenTransport, runner: RawRunner, limits: Budget) -> Phase:
    transport = open_transport(runner.url)
    with pytest.raises(RunnerTimeout) as caught:
        await ask(transport, budget=limits)
    assert (transport.stats().in_flight, transport.stats().idle) == (0, 0)
    return caught.value.phase


async def test_a_runner_that_never_answers_runs_into_the_first_byte_limit(
    open_transport: OpenTransport,
) -> None:
    async with RawRunner(hang()) as runner:
        phase = await timeout_of(open_transport, runner, budget(first_byte_s=SOON))
        assert phase is Phase.FIRST_BYTE
        assert await runner.left.get() == 1


async def test_a_head_that_trickles_is_no_first_byte(open_transport: OpenTransport) -> None:
    async with RawRunner(trickle(b"HTTP/1.1 200 OK\r\nA: ", byte=b"b")) as runner:
        phase = await timeout_of(open_transport, runner, budget(first_byte_s=SOON))
    assert phase is Phase.FIRST_BYTE


async def test_a_body_that_stops_runs_into_the_idle_limit(open_transport: OpenTransport) -> None:
    async with RawRunner(hang(response(b"x", length=9))) as runner:
        assert await timeout_of(open_transport, runner, budget(idle_s=SOON)) is Phase.IDLE


async def test_a_stream_of_events_may_be_silent_for_longer(open_transport: OpenTransport) -> None:
    async def pauses(wire: Wire) -> None:
        await wire.send(head(fields=[("Content-Type", "Text/Event-Stream; charset=utf-8")]))
        await wire.send(b"data: 1\n\n")
        await asyncio.sleep(5 * SOON)  # far beyond the limit: the pause is what is tested
        await wire.send(b"data: 2\n\n")
        wire.close()

    async with RawRunner(pauses) as runner:
        answer = await ask(open_transport(runner.url), budget=budget(idle_s=SOON))
    assert answer.body == b"data: 1\n\ndata: 2\n\n"


async def test_a_body_that_trickles_keeps_the_idle_limit_but_not_the_total(
    open_transport: OpenTransport,
) -> None:
    async with RawRunner(trickle(response(b"", length=10**6))) as runner:
        limits = budget(idle_s=5, body_by=time.monotonic() + 3 * SOON)
        assert await timeout_of(open_transport, runner, limits) is Phase.TOTAL


async def test_a_runner_that_never_pauses_does_not_outrun_the_total(
    open_transport: OpenTransport,
) -> None:
    padded = b"1;" + b"p" * 1_000 + b"\r\nx\r\n"  # so that no bound on content ends it
    async with RawRunner(flood(head(fields=[("Transfer-Encoding", "chunked")]), padded)) as runner:
        limits = budget(body_by=time.monotonic() + SOON)
        async with asyncio.timeout(3):  # thirty times as long
            assert await timeout_of(open_transport, runner, limits) is Phase.TOTAL


async def test_the_total_counts_before_the_first_byte_too(open_transport: OpenTransport) -> None:
    async with RawRunner(hang()) as runner:
        limits = budget(body_by=time.monotonic() + SOON)
        assert await timeout_of(open_transport, runner, limits) is Phase.TOTAL


async def test_the_limit_of_the_head_does_not_bound_the_body(
    open_transport: OpenTransport,
) -> None:
    async with RawRunner(trickle(response(b"", length=20), byte=b"x")) as runner:
        transport = open_transport(runner.url)
        limits = budget(head_by=time.monotonic() + SOON)
        assert (await ask(transport, budget=limits)).body == b"x" * 20


async def test_an_infinite_limit_is_none(open_transport: OpenTransport) -> None:
    endless = Budget(connect_s=None, first_byte_s=None, idle_s=None)
    async with RawRunner(trickle(response(b"", length=3))) as runner:
        assert len((await ask(open_transport(runner.url), budget=endless)).body) == 3


async def test_a_handshake_that_nobody_answers_runs_into_the_connect_limit(
    open_transport: OpenTransport,
) -> None:
    async with RawRunner(hang(), on_connect=hang()) as runner:
        transport = open_transport(runner.url.replace("http:", "https:"))
        with pytest.raises(RunnerTimeout) as caught:
            await ask(transport, budget=budget(connect_s=SOON))
    assert caught.value.phase is Phase.CONNECT
