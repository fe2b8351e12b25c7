import asyncio
import resource
from contextlib import suppress

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from aiohttp.typedefs import Handler
from pytest_aiohttp.plugin import AiohttpClient, AiohttpServer

from middleware.errors import Forbidden
from middleware.problem_details import CLIENT_GONE, problem_details
from tests.middleware.wire import ask, body_of, connection, head, render


async def _forbidden(_request: web.Request) -> web.Response:
    raise Forbidden("not_yours")


async def _broken(_request: web.Request) -> web.Response:
    raise LookupError("a detail of ours")


async def _redirect(_request: web.Request) -> web.Response:
    raise web.HTTPFound("/elsewhere")


async def _cut_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    if "length" in request.query:
        response.content_length = 100
    await response.prepare(request)
    await response.write(b"half of it")
    if "full" in request.query:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
    raise LookupError("the other half")


def _app() -> web.Application:
    app = web.Application(middlewares=[problem_details(render)])
    app.router.add_get("/forbidden", _forbidden)
    app.router.add_get("/broken", _broken)
    app.router.add_get("/redirect", _redirect)
    app.router.add_get("/cut-off", _cut_off)
    return app


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [("/forbidden", 403, "not_yours"), ("/broken", 500, "LookupError"), ("/nowhere", 404, "404")],
)
async def test_whatever_is_raised_is_rendered(
    aiohttp_client: AiohttpClient, path: str, status: int, text: str
) -> None:
    client = await aiohttp_client(_app())
    answer = await client.get(path)
    assert (answer.status, await answer.text()) == (status, text)


async def test_a_method_not_allowed_keeps_saying_what_is(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(_app())
    answer = await client.post("/forbidden")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")
    assert await answer.text() == "405"


async def test_a_redirect_is_an_answer_not_a_failure(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(_app())
    answer = await client.get("/redirect", allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (302, "/elsewhere")


@pytest.mark.parametrize(
    "line", ["GET /cut-off HTTP/1.1", "GET /cut-off?length HTTP/1.1", "GET /cut-off HTTP/1.0"]
)
async def test_an_answer_that_breaks_off_does_not_look_complete(
    aiohttp_server: AiohttpServer, line: str
) -> None:
    server = await aiohttp_server(_app())
    with pytest.raises(ConnectionResetError):
        await ask(server, line, "Host: here", "Connection: close")


async def test_nor_does_one_while_the_process_may_open_no_more_files(
    aiohttp_server: AiohttpServer,
) -> None:
    server = await aiohttp_server(_app())
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        with pytest.raises(ConnectionResetError):
            await ask(server, "GET /cut-off?full HTTP/1.0", "Host: here")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)


async def test_nothing_is_added_to_an_answer_that_breaks_off(
    aiohttp_server: AiohttpServer,
) -> None:
    server = await aiohttp_server(_app())
    received = b""
    async with connection(server) as (reader, writer):
        writer.write(head("GET /cut-off HTTP/1.1", "Host: here"))
        with suppress(ConnectionResetError):
            while piece := await reader.read(1024):
                received += piece
    # The reset may overtake bytes that were sent before it, never add any.
    assert b"a\r\nhalf of it\r\n".startswith(body_of(received))


async def test_a_client_that_left_is_no_failure_of_ours(aiohttp_server: AiohttpServer) -> None:
    rendered: list[Exception] = []
    statuses: asyncio.Queue[int] = asyncio.Queue()
    entered = asyncio.Event()

    def keep(_request: web.Request, failure: Exception) -> web.Response:
        rendered.append(failure)
        return web.Response(status=500)

    @web.middleware
    async def outside(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        statuses.put_nowait(response.status)
        return response

    async def reading(request: web.Request) -> web.Response:
        entered.set()
        await request.content.wait_eof()
        return web.Response()

    app = web.Application(middlewares=[outside, problem_details(keep)])
    app.router.add_post("/", reading)
    server = await aiohttp_server(app)
    # The test server would cancel the handler before it notices by itself.
    assert server.runner is not None
    assert server.runner.server is not None
    server.runner.server.handler_cancellation = False
    async with connection(server) as (_, writer):
        writer.write(head("POST / HTTP/1.1", "Host: here", "Content-Length: 9"))
        await entered.wait()
    assert await statuses.get() == CLIENT_GONE
    assert rendered == []


async def test_cancellation_is_not_answered() -> None:
    rendered: list[Exception] = []

    def note(_request: web.Request, failure: Exception) -> web.Response:
        rendered.append(failure)
        return web.Response()

    async def cancelled(_request: web.Request) -> web.StreamResponse:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await problem_details(note)(make_mocked_request("GET", "/"), cancelled)
    assert rendered == []
