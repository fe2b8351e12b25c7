"""The pool of the transport on asyncio's protocols: places, timers, lookups, and a clean end."""

import asyncio
import gc
import socket
import weakref
from collections.abc import Callable

import pytest
import uvloop

from backends.errors import (
    RunnerOverloaded,
    RunnerTimeout,
    RunnerUnreachable,
)
from backends.upstream.address import RunnerAddress
from backends.upstream.http1 import Http1Transport
from backends.upstream.http1_pool import KEEPALIVE_S, Http1Pool
from backends.upstream.http1_protocol import Http1Connection
from backends.upstream.transport import Budget, UpstreamRequest
from tests.backends.upstream.conftest import OpenHttp1
from tests.backends.upstream.exchanges import PATIENT, ask
from tests.fakes.raw_runner import RawRunner, Wire, chunked, hang, head, response, send

GET = UpstreamRequest(method="GET", target="/", budget=PATIENT)
SOON = Budget(connect_s=5, first_byte_s=5, idle_s=0.1)


@pytest.mark.parametrize(
    ("method", "pieces"),
    [
        ("HEAD", [head("200 OK", [("Content-Length", "2048")])]),
        ("HEAD", [head("200 OK", [("Transfer-Encoding", "chunked")])]),
        ("GET", [head("304 Not Modified", [("Content-Length", "2048")])]),
        ("GET", [response(b"on", length=3), b"e"]),
        ("GET", [chunked(b"one", end=False), b"0\r\nA: b\r\n\r\n"]),
        ("GET", [head("100 Continue"), response(b"one")]),
    ],
    ids=["head", "head-chunked", "not-modified", "in-pieces", "trailers", "interim"],
)
async def test_every_kind_of_answer_leaves_its_connection_usable(
    open_http1: OpenHttp1, method: str, pieces: list[bytes]
) -> None:
    async def in_pieces(wire: Wire) -> None:
        for piece in pieces:
            await wire.send(piece)
            for _ in range(5):  # the peer reads it alone
                await asyncio.sleep(0)

    async with RawRunner(in_pieces, send(response(b"two"))) as runner:
        transport = open_http1(runner.url)
        await ask(transport, method=method)
        assert (await ask(transport)).body == b"two"
        assert runner.connections == 1


async def test_many_exchanges_share_one_timer_for_each_connection(
    open_http1: OpenHttp1, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RawRunner(send(response(b"ok"))) as runner:
        transport = open_http1(runner.url)
        await ask(transport)
        loop = asyncio.get_running_loop()
        armed: list[float] = []
        call_later = loop.call_later

        def counting(delay: float, *what: object) -> asyncio.TimerHandle:
            armed.append(delay)
            return call_later(delay, *what)  # type: ignore[arg-type]

        monkeypatch.setattr(loop, "call_later", counting)
        for _ in range(50):
            await ask(transport)
        assert armed == []


async def test_a_timer_that_fired_early_is_set_anew(open_http1: OpenHttp1) -> None:
    async with RawRunner(send(response(b"ok")), hang()) as runner:
        transport = open_http1(runner.url)
        await ask(transport, budget=Budget(connect_s=5, first_byte_s=0.05, idle_s=5))
        async with asyncio.timeout(5):
            with pytest.raises(RunnerTimeout):
                await ask(transport, budget=Budget(connect_s=5, first_byte_s=0.2, idle_s=5))
        assert runner.connections == 1


async def test_a_place_in_line_whose_owner_left_goes_to_the_next(
    open_http1: OpenHttp1, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_answer = asyncio.Event()

    async def answer(wire: Wire) -> None:
        await may_answer.wait()
        await wire.send(response(b"ok"))

    async with RawRunner(answer) as runner:
        transport = open_http1(runner.url, max_connections=1)

        free = transport._pool.free

        def free_and_cancel_the_next(connection: Http1Connection, *, reusable: bool) -> None:
            free(connection, reusable=reusable)
            second.cancel()  # it was given the connection, and has had no turn to notice

        monkeypatch.setattr(transport._pool, "free", free_and_cancel_the_next)
        first = asyncio.create_task(ask(transport))
        await runner.asked.get()
        second, third = (asyncio.create_task(ask(transport)) for _ in range(2))
        await asyncio.sleep(0)
        may_answer.set()
        assert (await third).body == b"ok"
        await first
        with pytest.raises(asyncio.CancelledError):
            await second
        assert (transport.stats().in_flight, transport.stats().idle) == (0, 1)
        assert runner.connections == 1


@pytest.mark.parametrize("answer", [response(b"ok"), response(b"ok", length=9)])
@pytest.mark.parametrize("cancelled_first", [True, False])
async def test_an_exchange_cancelled_in_the_turn_of_its_answer_leaves_nothing_behind(
    open_http1: OpenHttp1, answer: bytes, cancelled_first: bool
) -> None:
    async def say_nothing(wire: Wire) -> None: ...

    async with RawRunner(say_nothing) as runner:
        transport = open_http1(runner.url)
        asking = asyncio.create_task(transport.exchange(GET))
        await runner.asked.get()
        connection = next(iter(transport._pool._connections))
        if cancelled_first:
            asking.cancel()
        connection.data_received(answer)  # the task has no turn between the two
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert transport.stats().in_flight == 0


@pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def test_a_call_that_leaves_while_its_connection_comes_about_leaves_nothing_behind(
    new_loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    asking: list[asyncio.Task[object]] = []
    made: list[Http1Connection] = []
    make = Http1Pool.made

    def made_and_left(pool: Http1Pool, connection: Http1Connection) -> None:
        make(pool, connection)
        made.append(connection)
        asking[0].cancel()

    async def scenario() -> None:
        async with RawRunner(send(response(b"ok"))) as runner:
            transport = Http1Transport(RunnerAddress.parse(runner.url))
            asking.append(asyncio.create_task(ask(transport)))
            await asyncio.wait(asking)
            assert asking[0].cancelled()
            await runner.left.get()
            pool = transport._pool
            assert (len(made), pool.in_flight, pool.idle, pool._connections) == (1, 0, 0, set())

    monkeypatch.setattr(Http1Pool, "made", made_and_left)
    with asyncio.Runner(loop_factory=new_loop) as run:
        run.run(scenario())


async def test_a_closed_transport_keeps_no_socket(open_http1: OpenHttp1) -> None:
    async with RawRunner(send(response(b"ok"))) as runner:
        transport = open_http1(runner.url)
        await asyncio.gather(*(ask(transport) for _ in range(4)))
        kept = weakref.WeakSet(transport._pool._connections)
        await transport.aclose()
        assert (transport.stats().idle, transport.stats().in_flight) == (0, 0)
        gc.collect()  # an open socket would say so, and warnings are errors
        assert not kept  # no timer holds on to one either


async def test_closing_fails_whoever_dials_or_stands_in_line(
    open_http1: OpenHttp1,
) -> None:
    dialled = asyncio.Event()

    async def never_shake_hands(wire: Wire) -> None:
        dialled.set()
        await wire.reader.read()

    async with RawRunner(hang(), on_connect=never_shake_hands) as runner:
        transport = open_http1(runner.url.replace("http:", "https:"), max_connections=1)
        asking = [asyncio.create_task(ask(transport)) for _ in range(2)]
        await dialled.wait()
        await transport.aclose()
        async with asyncio.timeout(2):  # they would be patient for five
            for task in asking:
                with pytest.raises(RunnerUnreachable, match="backend_closed"):
                    await task
        assert transport.stats().in_flight == 0


async def test_a_dial_that_failed_gives_its_place_back(open_http1: OpenHttp1) -> None:
    async with RawRunner() as runner:
        transport = open_http1(runner.url, max_connections=1)
    for _ in range(2):
        with pytest.raises(RunnerUnreachable, match="connection_refused"):
            await ask(transport)
        assert transport.stats().in_flight == 0


async def test_whoever_gives_up_waiting_leaves_the_line(open_http1: OpenHttp1) -> None:
    async with RawRunner(hang()) as runner:
        transport = open_http1(runner.url, max_connections=1)
        first = asyncio.create_task(ask(transport))
        await runner.asked.get()
        with pytest.raises(RunnerOverloaded):
            await ask(transport, budget=Budget(connect_s=0.01, first_byte_s=5, idle_s=5))
        assert transport.stats().in_flight == 1
        first.cancel()


async def test_a_connection_that_idled_too_long_is_not_used_again(
    open_http1: OpenHttp1,
) -> None:
    async with RawRunner(send(response(b"ok"))) as runner:
        transport = open_http1(runner.url)
        await ask(transport)
        next(iter(transport._pool._connections)).idle_since -= KEEPALIVE_S
        await ask(transport)
        assert runner.connections == 2


async def test_one_lookup_serves_all_that_dial_at_once_and_soon_after(
    open_http1: OpenHttp1, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookups: list[str] = []
    getaddrinfo = socket.getaddrinfo

    def counting(host: str, port: int, *, type: int = 0) -> list[tuple[object, ...]]:
        lookups.append(host)
        return list(getaddrinfo(host, port, type=type))

    monkeypatch.setattr(socket, "getaddrinfo", counting)
    async with RawRunner(send(response(b"ok", fields=[("Connection", "close")]))) as runner:
        # The listener has one family; the name may well have both.
        transport = open_http1(f"http://localhost:{runner.port}")
        await asyncio.gather(*(ask(transport) for _ in range(4)))
        await ask(transport)
        assert runner.connections == 5
    assert lookups == ["localhost"]
