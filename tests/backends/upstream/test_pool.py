"""A connection is used again only when there is no doubt about it."""

import asyncio
import os

import pytest

from backends.errors import Phase, RunnerOverloaded, RunnerProtocolError, RunnerUnreachable
from backends.upstream.transport import Budget, ConnectionLost, UpstreamRequest
from tests.backends.upstream.conftest import OpenTransport
from tests.backends.upstream.exchanges import PATIENT, ask
from tests.fakes.raw_runner import RawRunner, Wire, hang, head, response, send, trickle


async def test_a_healthy_connection_is_used_again(open_transport: OpenTransport) -> None:
    async with RawRunner(send(response(b"ok"))) as runner:
        transport = open_transport(runner.url)
        for _ in range(3):
            await ask(transport)
        stats = transport.stats()
        assert runner.connections == 1
    assert (stats.in_flight, stats.idle, stats.opened, stats.reused) == (0, 1, 1, 2)


@pytest.mark.parametrize("stray", [response(b"POISON"), b"H", b"\r\n", b"junk"])
async def test_bytes_that_came_between_two_exchanges_answer_nobody(
    open_transport: OpenTransport, stray: bytes
) -> None:
    async with RawRunner(send(response(b"one")), send(response(b"two"))) as runner:
        transport = open_transport(runner.url)
        await ask(transport)
        await runner.push(stray)
        answer = await ask(transport)
        assert answer.body == b"two"
        assert runner.connections == 2


async def test_a_second_answer_right_behind_the_first_answers_nobody(
    open_transport: OpenTransport,
) -> None:
    both = response(b"one") + response(b"POISON")
    async with RawRunner(send(both), send(response(b"two"))) as runner:
        transport = open_transport(runner.url)
        assert [(await ask(transport)).body for _ in range(2)] == [b"one", b"two"]
        assert runner.connections == 2


async def test_a_body_longer_than_announced_answers_nobody(open_transport: OpenTransport) -> None:
    async with RawRunner(send(response(b"one+more", length=3)), send(response(b"two"))) as runner:
        transport = open_transport(runner.url)
        with pytest.raises(RunnerProtocolError, match="malformed_answer"):
            await ask(transport)
        assert (await ask(transport)).body == b"two"
        assert runner.connections == 2


async def test_a_connection_that_the_runner_closed_is_not_used_again(
    open_transport: OpenTransport,
) -> None:
    async with RawRunner(send(response(b"ok"))) as runner:
        transport = open_transport(runner.url)
        await ask(transport)
        await runner.hang_up()
        assert (await ask(transport, method="POST", body=b"x")).status == 200
        assert (runner.connections, len(runner.requests)) == (2, 2)


async def test_a_goodbye_that_nobody_has_read_yet_is_seen_before_a_post_is_sent(
    open_transport: OpenTransport,
) -> None:
    async with RawRunner(send(response(b"ok"))) as runner:
        transport = open_transport(runner.url)
        await ask(transport)
        runner.hang_up_unnoticed()
        assert (await ask(transport, method="POST", body=b"x")).status == 200
        assert (runner.connections, len(runner.requests)) == (2, 2)


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_a_request_is_on_the_wire_exactly_once_whatever_happens_to_it(
    open_transport: OpenTransport, method: str, then: str
) -> None:
    async with RawRunner(send(response(b"ok")), send(then=then)) as runner:
        transport = open_transport(runner.url)
        await ask(transport)
        with pytest.raises(ConnectionLost) as caught:
            await ask(transport, method=method)
        assert len(runner.requests) == 2
    assert (caught.value.reused, caught.value.sent) == (True, True)


async def test_a_fresh_connection_that_dies_is_told_from_a_used_one(
    open_transport: OpenTransport,
) -> None:
    async with RawRunner(send(then="close")) as runner:
        with pytest.raises(ConnectionLost) as caught:
            await ask(open_transport(runner.url))
    assert (caught.value.reused, caught.value.sent) == (False, True)


async def test_a_runner_that_hangs_up_after_each_answer_is_believed(
    open_transport: OpenTransport,
) -> None:
    async with RawRunner(send(response(b"ok", fields=[("Connection", "close")]))) as runner:
        transport = open_transport(runner.url)
        await ask(transport)
        await ask(transport)
        assert runner.connections == 2


async def test_a_runner_that_says_how_long_it_listens_is_believed(
    open_transport: OpenTransport,
) -> None:
    listens = [("Keep-Alive", "max=9, timeout=1")]
    async with RawRunner(send(response(b"ok", fields=listens))) as runner:
        transport = open_transport(runner.url)
        await ask(transport)
        await asyncio.sleep(0.6)  # half of that second and more: time is the subject here
        await ask(transport)
        assert runner.connections == 2


async def test_an_answer_that_comes_before_the_request_was_out_ends_the_connection(
    open_transport: OpenTransport,
) -> None:
    early = send(response(b"too large", status="413 Content Too Large"))
    async with RawRunner(early, read_bodies=False) as runner:
        transport = open_transport(runner.url)
        answer = await ask(transport, method="POST", body=b"x" * 20_000_000)
        assert (answer.status, answer.body) == (413, b"too large")
        assert transport.stats().idle == 0


async def test_a_cancelled_exchange_closes_its_connection_at_once(
    open_transport: OpenTransport,
) -> None:
    async with RawRunner(hang()) as runner:
        transport = open_transport(runner.url)
        asking = asyncio.create_task(ask(transport, method="POST", body=b"x"))
        await runner.asked.get()
        asking.cancel()
        assert await runner.left.get() == 1
        assert transport.stats().in_flight == 0


async def test_a_cancelled_upload_does_not_wait_for_a_runner_that_reads_nothing(
    open_transport: OpenTransport,
) -> None:
    may_read = asyncio.Event()

    async def read_nothing(wire: Wire) -> None:
        await may_read.wait()

    async with RawRunner(read_nothing, read_bodies=False) as runner:
        transport = open_transport(runner.url)
        asking = asyncio.create_task(ask(transport, method="POST", body=b"x" * 20_000_000))
        await runner.asked.get()
        for _ in range(1000):  # each turn moves a piece, until every buffer on the way is full
            await asyncio.sleep(0)
        sockets = len(os.listdir("/dev/fd"))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await asyncio.sleep(0)  # an aborted socket is closed in the loop's next turn
        assert len(os.listdir("/dev/fd")) == sockets - 1
        may_read.set()


async def test_a_body_given_back_unread_closes_its_connection_at_once(
    open_transport: OpenTransport,
) -> None:
    async with RawRunner(trickle(response(b"x", length=10**9))) as runner:
        transport = open_transport(runner.url)
        answer = await transport.exchange(UpstreamRequest(method="GET", target="/", budget=PATIENT))
        await answer.body.aclose()
        await answer.body.aclose()
        assert await runner.left.get() == 1
        assert transport.stats().in_flight == 0
        with pytest.raises(RunnerProtocolError, match="stream_closed"):
            await anext(aiter(answer.body))


async def test_past_the_bound_callers_wait_in_line_and_then_are_refused(
    open_transport: OpenTransport,
) -> None:
    async with RawRunner(hang()) as runner:
        transport = open_transport(runner.url, max_connections=1, max_waiting=1)
        first = asyncio.create_task(ask(transport))
        await runner.asked.get()
        in_line = asyncio.create_task(
            ask(transport, budget=Budget(connect_s=0.1, first_byte_s=5, idle_s=5))
        )
        await asyncio.sleep(0)
        async with asyncio.timeout(2):  # it would stand in line for five
            with pytest.raises(RunnerOverloaded, match="pool_exhausted"):
                await ask(transport)
        with pytest.raises(RunnerOverloaded, match="pool_exhausted") as caught:
            await in_line
        first.cancel()
        assert caught.value.phase is Phase.ADMIT
        assert len(runner.requests) == 1


async def test_whoever_waits_in_line_gets_the_connection_that_comes_free(
    open_transport: OpenTransport,
) -> None:
    async with RawRunner(send(response(b"ok"))) as runner:
        transport = open_transport(runner.url, max_connections=2)
        answers = await asyncio.gather(*(ask(transport) for _ in range(20)))
        assert [answer.body for answer in answers] == [b"ok"] * 20
        assert runner.connections == 2


async def test_a_connection_refused_before_use_does_not_make_its_successor_a_used_one(
    open_transport: OpenTransport,
) -> None:
    async with RawRunner(send(response(b"ok")), send(then="close")) as runner:
        transport = open_transport(runner.url)
        await ask(transport)
        runner.hang_up_unnoticed()
        with pytest.raises(ConnectionLost) as caught:
            await ask(transport)
    assert not caught.value.reused


@pytest.mark.parametrize("start", [b"", head(), response(b"x", length=9)])
async def test_closing_the_transport_fails_what_still_runs(
    open_transport: OpenTransport, start: bytes
) -> None:
    async with RawRunner(hang(start)) as runner:
        transport = open_transport(runner.url)
        asking = asyncio.create_task(ask(transport))
        await runner.asked.get()
        await asyncio.sleep(0)
        await transport.aclose()
        with pytest.raises(RunnerProtocolError, match="backend_closed"):
            await asking
        assert transport.stats().in_flight == 0


async def test_a_closed_transport_dials_nobody(open_transport: OpenTransport) -> None:
    async with RawRunner(send(response())) as runner:
        transport = open_transport(runner.url)
        await transport.aclose()
        with pytest.raises(RunnerUnreachable, match="backend_closed"):
            await ask(transport)
        assert runner.connections == 0
