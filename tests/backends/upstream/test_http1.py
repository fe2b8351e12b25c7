"""What the transport on asyncio's protocols promises beyond the port: bounds in both directions."""

import asyncio

import pytest

from backends.errors import (
    Phase,
    RunnerProtocolError,
    RunnerTimeout,
)
from backends.upstream.bodies import WholeBody, read_whole
from backends.upstream.http1_body import HIGH_WATER_BYTES
from backends.upstream.http1_protocol import Http1Connection
from backends.upstream.transport import Budget, UpstreamRequest
from tests.backends.upstream.conftest import OpenHttp1
from tests.backends.upstream.exchanges import PATIENT, ask
from tests.fakes.raw_runner import RawRunner, Wire, chunked, hang, head, response, send, trickle

GET = UpstreamRequest(method="GET", target="/", budget=PATIENT)
SOON = Budget(connect_s=5, first_byte_s=5, idle_s=0.1)


async def settle() -> None:
    """Turns enough to move everything that can be moved through this machine's buffers."""
    for _ in range(2000):
        await asyncio.sleep(0)


async def test_a_small_answer_is_whole_when_its_head_is_there(
    open_http1: OpenHttp1,
) -> None:
    async with RawRunner(send(response(b"ok"))) as runner:
        transport = open_http1(runner.url)
        answer = await transport.exchange(GET)
        assert isinstance(answer.body, WholeBody)
        assert transport.stats().idle == 1
        assert [part async for part in answer.body] == [b"ok"]
        assert [part async for part in answer.body] == []


async def test_a_small_answer_that_was_given_back_cannot_be_read(open_http1: OpenHttp1) -> None:
    async with RawRunner(send(response(b"ok"))) as runner:
        answer = await open_http1(runner.url).exchange(GET)
        await answer.body.aclose()
        with pytest.raises(RunnerProtocolError, match="stream_closed"):
            await anext(aiter(answer.body))


async def test_a_small_answer_over_the_bound_of_its_reader_is_refused(
    open_http1: OpenHttp1,
) -> None:
    async with RawRunner(send(response(b"four"))) as runner:
        answer = await open_http1(runner.url).exchange(GET)
        with pytest.raises(RunnerProtocolError, match="answer_too_large"):
            await read_whole(answer.body, max_bytes=3)


async def test_a_connection_comes_back_only_when_its_body_was_taken(
    open_http1: OpenHttp1,
) -> None:
    async with RawRunner(send(response(b"x" * 200_000))) as runner:
        transport = open_http1(runner.url)
        answer = await transport.exchange(GET)
        await settle()  # all of it is here by now
        assert (transport.stats().in_flight, transport.stats().idle) == (1, 0)
        assert len(await read_whole(answer.body, max_bytes=2**20)) == 200_000
        assert (transport.stats().in_flight, transport.stats().idle) == (0, 1)


async def test_a_body_that_runs_over_in_a_later_piece_ends_its_connection(
    open_http1: OpenHttp1,
) -> None:
    wires: list[Wire] = []

    async def begin(wire: Wire) -> None:
        await wire.send(response(b"on", length=3))
        wires.append(wire)

    async with RawRunner(begin, send(response(b"two"))) as runner:
        transport = open_http1(runner.url)
        answer = await transport.exchange(GET)
        chunks = aiter(answer.body)
        assert await anext(chunks) == b"on"
        await wires[0].send(b"e" + response(b"POISON"))
        assert [part async for part in chunks] == [b"e"]
        assert transport.stats().idle == 0
        assert (await ask(transport)).body == b"two"


async def test_a_consumer_that_takes_nothing_holds_up_the_runner_and_loses_nothing(
    open_http1: OpenHttp1,
) -> None:
    size, written = 64 * 2**20, 0

    async def pour(wire: Wire) -> None:
        nonlocal written
        await wire.send(response(b"", length=size))
        while written < size:
            await wire.send(b"x" * 2**16)
            written += 2**16

    async with RawRunner(pour) as runner:
        answer = await open_http1(runner.url).exchange(GET)
        await settle()
        assert HIGH_WATER_BYTES < written < 24 * 2**20  # the rest is the kernel's buffers
        taken, largest = 0, 0
        async for part in answer.body:
            taken += len(part)
            largest = max(largest, len(part))
        assert taken == size
        assert largest < 2 * HIGH_WATER_BYTES


async def test_an_upload_waits_for_a_runner_that_reads_slowly() -> None:
    may_read = asyncio.Event()

    async def read_later(wire: Wire) -> None:
        await may_read.wait()
        for _ in range(320):
            await wire.reader.readexactly(2**16)
        await wire.send(response(b"got it"))

    class Owner:
        def made(self, connection: Http1Connection) -> None: ...
        def lost(self, connection: Http1Connection) -> None: ...
        def expect_idle_limit(self, seconds: float) -> None: ...
        def free(self, connection: Http1Connection, *, reusable: bool) -> None:
            assert reusable

    async with RawRunner(read_later, read_bodies=False) as runner:
        loop = asyncio.get_running_loop()
        wire, connection = await loop.create_connection(
            lambda: Http1Connection(Owner()), "127.0.0.1", runner.port
        )
        body = b"x" * 320 * 2**16
        begun = loop.create_future()
        connection.begin(
            UpstreamRequest(method="POST", target="/", body=body, budget=PATIENT),
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body),
            begun.set_result,
        )
        await settle()
        assert 0 < wire.get_write_buffer_size() < 2**20
        may_read.set()
        answer = await begun
        assert not isinstance(answer, Exception)
        assert await read_whole(answer.body, max_bytes=99) == b"got it"
        wire.abort()
        await asyncio.sleep(0)


async def test_chunk_framing_without_content_is_no_progress(
    open_http1: OpenHttp1,
) -> None:
    begin = head("200 OK", [("Transfer-Encoding", "chunked")]) + b"5;"
    async with RawRunner(trickle(begin, byte=b"a")) as runner:
        with pytest.raises(RunnerTimeout) as caught:
            await ask(open_http1(runner.url), budget=SOON)
    assert caught.value.phase is Phase.IDLE


@pytest.mark.parametrize(
    ("begin", "more", "reason"),
    [
        (chunked(b"x", end=False) + b"0\r\n", b"a: b\r\n", "truncated_answer"),
        (chunked(b"x", end=False) + b"0\r\n", b"a", "truncated_answer"),
        (chunked(b"x", end=False) + b"5;", b"a", "truncated_answer"),
        (b"", head("100 Continue"), "upstream_header_too_large"),
        (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n", "upstream_header_too_large"),
        (b"HTTP/1.1 200 OK\r\na: ", b"b", "upstream_header_too_large"),
    ],
    ids=["trailers", "trailer", "extension", "interim", "fields", "field"],
)
async def test_what_is_no_content_has_a_bound(
    open_http1: OpenHttp1, begin: bytes, more: bytes, reason: str
) -> None:
    async def pour(wire: Wire) -> None:
        await wire.send(begin)
        while wire.open:
            await wire.send(more * 4000)
            await asyncio.sleep(0)

    async with RawRunner(pour) as runner:
        with pytest.raises(RunnerProtocolError, match=reason):
            await ask(open_http1(runner.url))


@pytest.mark.parametrize(
    "interim",
    [
        head("103 Early Hints", [("Content-Length", "4")]) + b"evil",
        head("103 Early Hints", [("Transfer-Encoding", "chunked")]) + b"4\r\nevil\r\n0\r\n\r\n",
    ],
    ids=["length", "chunked"],
)
async def test_an_interim_answer_cannot_smuggle_content(
    open_http1: OpenHttp1, interim: bytes
) -> None:
    async with RawRunner(send(interim, response(b"ok"))) as runner:
        with pytest.raises(RunnerProtocolError, match="malformed_answer"):
            await ask(open_http1(runner.url))


@pytest.mark.parametrize("name", ["content-length", "Transfer-Encoding", "x y", "x:", "", "x\r\ny"])
async def test_a_field_that_would_change_the_framing_is_never_sent(
    open_http1: OpenHttp1, name: str
) -> None:
    async with RawRunner(send(response())) as runner:
        with pytest.raises(RunnerProtocolError, match="unsendable_request"):
            await ask(open_http1(runner.url), headers=((name, "1"),))
        assert runner.connections == 0


async def test_a_caller_may_name_the_host(open_http1: OpenHttp1) -> None:
    async with RawRunner(hang(response())) as runner:
        await ask(open_http1(runner.url), headers=(("host", "hello.example"), ("a", "b")))
        lines = runner.requests[0].head.split(b"\r\n")
    assert lines[1:] == [b"Host: hello.example", b"a: b"]
