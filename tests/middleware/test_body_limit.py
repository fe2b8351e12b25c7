import asyncio
from contextlib import suppress

import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpServer

from middleware.body_limit import BodyLimit, body_limit, no_continue_yet, read_body
from middleware.connection_close import LINGER_BYTES, connection_close
from middleware.errors import Unauthenticated
from middleware.guard import guarded
from middleware.problem_details import problem_details
from tests.middleware.wire import ask, body_of, connection, fields_of, head, render, status_of

LIMIT = 100_000


async def _shown(request: web.Request) -> web.Response:
    return web.Response(text=repr(await read_body(request)))


async def _stranger(_request: web.Request) -> web.Response:
    raise Unauthenticated("missing_key", challenge="Test")


def _app(*, idle_s: float = 15.0) -> web.Application:
    config = BodyLimit(max_bytes=LIMIT, idle_s=idle_s)
    app = web.Application(
        middlewares=[
            connection_close(),
            problem_details(render),
            guarded(lambda _: (body_limit(lambda: config),)),
        ]
    )
    app.router.add_route("*", "/shown", _shown, expect_handler=no_continue_yet)
    app.router.add_route("*", "/stranger", _stranger, expect_handler=no_continue_yet)
    return app


def _post(path: str, *fields: str, close: bool = True) -> tuple[str, ...]:
    closing = ("Connection: close",) if close else ()
    return (f"POST {path} HTTP/1.1", "Host: here", *closing, *fields)


@pytest.mark.parametrize(
    ("fields", "body", "shown"),
    [
        ((), b"", b"None"),
        (("Content-Length: 0",), b"", b"b''"),
        (("Transfer-Encoding: chunked",), b"0\r\n\r\n", b"b''"),
        (("Content-Length: 2",), b"hi", b"b'hi'"),
        (("Transfer-Encoding: chunked",), b"2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n", b"b'hi!'"),
    ],
)
async def test_no_body_and_an_empty_body_are_two_things(
    aiohttp_server: AiohttpServer, fields: tuple[str, ...], body: bytes, shown: bytes
) -> None:
    server = await aiohttp_server(_app())
    assert body_of(await ask(server, *_post("/shown", *fields), body=body)) == shown


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has been refused and sends nothing more is soon given up."""
    monkeypatch.setattr("middleware.connection_close.LINGER_PAUSE_S", 0.1)


async def test_a_body_of_exactly_the_limit_passes(aiohttp_server: AiohttpServer) -> None:
    server = await aiohttp_server(_app())
    lines = _post("/shown", f"Content-Length: {LIMIT}")
    assert status_of(await ask(server, *lines, body=b"x" * LIMIT)) == 200


async def test_an_announced_excess_is_refused_before_a_byte_of_it_came(
    aiohttp_server: AiohttpServer,
) -> None:
    server = await aiohttp_server(_app())
    answer = await ask(server, *_post("/shown", f"Content-Length: {LIMIT + 1}", close=False))
    assert status_of(answer) == 413
    assert fields_of(answer)["connection"] == "close"


async def test_an_unannounced_excess_is_refused_when_it_comes(
    aiohttp_server: AiohttpServer,
) -> None:
    server = await aiohttp_server(_app())
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    lines = _post("/shown", "Transfer-Encoding: chunked", close=False)
    answer = await ask(server, *lines, body=chunk * 4)
    assert (status_of(answer), body_of(answer)) == (413, b"payload_too_large")


async def test_a_refused_upload_of_gigabytes_is_not_taken_in(
    aiohttp_server: AiohttpServer,
) -> None:
    server = await aiohttp_server(_app())
    announced = 2_000_000_000
    pushed = 0
    async with connection(server) as (_, writer):
        writer.write(head(*_post("/shown", f"Content-Length: {announced}", close=False)))
        with suppress(ConnectionError):
            while pushed < announced:
                writer.write(b"x" * 65536)
                pushed += 65536
                await writer.drain()
    # What the server takes, and what the kernel's buffers on both sides hold.
    assert pushed < LINGER_BYTES + 64_000_000


@pytest.mark.parametrize("length", [12_000_000, 60_000_000])
async def test_a_client_that_sends_all_before_it_reads_gets_its_refusal(
    aiohttp_server: AiohttpServer, length: int
) -> None:
    server = await aiohttp_server(_app())
    async with connection(server) as (reader, writer):
        writer.write(head(*_post("/shown", f"Content-Length: {length}", close=False)))
        for _ in range(length // 1_000_000):
            writer.write(b"x" * 1_000_000)
            await writer.drain()
        answer = await reader.read()
    assert status_of(answer) == 413


async def test_a_refused_client_that_sends_nothing_more_is_not_waited_for(
    aiohttp_server: AiohttpServer,
) -> None:
    server = await aiohttp_server(_app())
    answer = await ask(server, *_post("/shown", "Content-Length: 12000000", close=False))
    assert status_of(answer) == 413


async def test_a_client_that_waits_is_asked_for_its_body(aiohttp_server: AiohttpServer) -> None:
    server = await aiohttp_server(_app())
    async with connection(server) as (reader, writer):
        writer.write(head(*_post("/shown", "Content-Length: 2", "Expect: 100-continue")))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hi")
        answer = await reader.read()
    assert (status_of(answer), body_of(answer)) == (200, b"b'hi'")


async def test_a_client_that_was_asked_can_still_be_refused(
    aiohttp_server: AiohttpServer,
) -> None:
    server = await aiohttp_server(_app())
    lines = _post("/shown", "Transfer-Encoding: chunked", "Expect: 100-continue", close=False)
    answer = await ask(server, *lines, body=b"20000\r\n" + b"x" * 0x20000 + b"\r\n")
    asked, _, refused = answer.partition(b"\r\n\r\n")
    assert (status_of(asked), status_of(refused)) == (100, 413)


@pytest.mark.parametrize(
    ("path", "length", "status"), [("/stranger", 2, 401), ("/shown", LIMIT + 1, 413)]
)
async def test_a_client_that_waits_is_refused_without_being_asked(
    aiohttp_server: AiohttpServer, path: str, length: int, status: int
) -> None:
    server = await aiohttp_server(_app())
    lines = _post(path, f"Content-Length: {length}", "Expect: 100-continue", close=False)
    answer = await ask(server, *lines)
    assert status_of(answer) == status
    assert fields_of(answer)["connection"] == "close"


async def test_an_unknown_expectation_is_refused_on_its_way_through_the_boundary(
    aiohttp_server: AiohttpServer,
) -> None:
    server = await aiohttp_server(_app())
    answer = await ask(server, *_post("/shown", "Content-Length: 0", "Expect: a-miracle"))
    assert (status_of(answer), body_of(answer)) == (417, b"417")


async def test_the_expectation_of_an_old_client_is_ignored(aiohttp_server: AiohttpServer) -> None:
    server = await aiohttp_server(_app())
    old = ("POST /shown HTTP/1.0", "Content-Length: 2", "Expect: 100-continue")
    answer = await ask(server, *old, body=b"hi")
    assert (status_of(answer), body_of(answer)) == (200, b"b'hi'")


async def test_a_small_refused_body_does_not_cost_the_connection(
    aiohttp_server: AiohttpServer,
) -> None:
    server = await aiohttp_server(_app())
    async with connection(server) as (reader, writer):
        writer.write(head(*_post("/stranger", "Content-Length: 2", close=False)))
        first = await reader.readuntil(b"missing_key")
        writer.write(b"hi" + head(*_post("/shown")))
        second = await reader.read()
    assert "connection" not in fields_of(first)
    assert (status_of(first), status_of(second)) == (401, 200)


@pytest.mark.parametrize("framing", ["Content-Length: 9", "Transfer-Encoding: chunked"])
async def test_a_client_that_stops_sending_is_timed_out(
    aiohttp_server: AiohttpServer, framing: str
) -> None:
    server = await aiohttp_server(_app(idle_s=0.05))
    answer = await ask(server, *_post("/shown", framing, close=False), body=b"1\r\nx\r\n")
    assert (status_of(answer), body_of(answer)) == (408, b"request_body_idle")
    assert fields_of(answer)["connection"] == "close"


async def test_a_body_that_cannot_be_decoded_is_refused(aiohttp_server: AiohttpServer) -> None:
    server = await aiohttp_server(_app())
    lines = _post("/shown", "Content-Length: 40000", "Content-Encoding: gzip", close=False)
    answer = await ask(server, *lines, body=b"this is not gzip" * 2500)
    assert (status_of(answer), body_of(answer)) == (400, b"malformed_body")
    assert fields_of(answer)["connection"] == "close"


async def test_a_client_that_leaves_mid_body_is_not_waited_for(
    aiohttp_server: AiohttpServer,
) -> None:
    ended: asyncio.Queue[BaseException] = asyncio.Queue()

    async def reading(request: web.Request) -> web.Response:
        try:
            await read_body(request)
        except BaseException as end:
            ended.put_nowait(end)
            raise
        return web.Response()

    app = _app()
    app.router.add_post("/reading", reading)
    server = await aiohttp_server(app)
    async with connection(server) as (_, writer):
        writer.write(head(*_post("/reading", "Content-Length: 9")) + b"x")
        await writer.drain()
    # Which of the two depends on whether the server cancels handlers of lost clients.
    assert isinstance(await ended.get(), (ConnectionError, asyncio.CancelledError))
