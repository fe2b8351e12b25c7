import asyncio
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pytest_aiohttp.plugin import AiohttpClient, AiohttpServer
from structlog.testing import capture_logs

from backends.errors import Phase, RunnerProtocolError
from middleware.access_log import (
    SOON_S,
    AccessLines,
    AccessLog,
    Entry,
    access_log,
    note,
    note_status,
)
from middleware.backend_tag import SERVED_BY, ServedBy
from middleware.body_limit import BodyLimit, body_limit, read_body
from middleware.guard import guarded, stamped
from middleware.problem_details import problem_details
from tests.middleware.wire import connection, head, render

Line = MutableMapping[str, Any]


class Door:
    """An application that tells when one of its requests is over."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.entered = asyncio.Event()
        ticks = iter(range(100))
        self.app = web.Application(
            middlewares=[
                self._announce_the_end,
                access_log(AccessLines(AccessLog), clock=lambda: next(ticks) * 0.25),
                problem_details(render),
                guarded(lambda _: (body_limit(lambda: BodyLimit(max_bytes=100)),)),
            ]
        )
        self.app.on_response_prepare.append(stamped(note_status))
        self.app.router.add_post("/api/ext/{extension}", self._execute)
        self.app.router.add_get("/streamed", self._stream)
        self.app.router.add_get("/cut-off", self._cut_off)
        self.app.router.add_get("/lost", self._lose)
        self.app.router.add_get("/endless", self._endless)
        self.app.router.add_get("/hangs", self._hang)
        self.app.router.add_get("/redirect", self._redirect)
        self.app.router.add_get("/broken", self._break)
        self.app.router.add_get("/healthz", self._well)

    @staticmethod
    async def _execute(request: web.Request) -> web.Response:
        note(request, tenant="acme", extension=request.match_info["extension"], error=None)
        request[SERVED_BY] = ServedBy("embedded", 2)
        return web.Response(body=await read_body(request))

    @staticmethod
    async def _stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=203)
        await response.prepare(request)
        await response.write(b"12345")
        await response.write_eof(b"678")
        return response

    @staticmethod
    async def _cut_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"12345")
        raise RunnerProtocolError("body_cut_short", phase=Phase.BODY)

    @staticmethod
    async def _lose(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"12345")
        raise LookupError

    async def _endless(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"more")
            self.entered.set()
            await asyncio.sleep(0)

    async def _hang(self, _request: web.Request) -> web.Response:
        self.entered.set()
        await asyncio.Event().wait()
        return web.Response()

    @staticmethod
    async def _redirect(_request: web.Request) -> web.Response:
        raise web.HTTPFound("/elsewhere")

    @staticmethod
    async def _break(_request: web.Request) -> web.Response:
        raise LookupError

    @staticmethod
    async def _well(_request: web.Request) -> web.Response:
        return web.Response()

    @property
    def _announce_the_end(self) -> Any:
        @web.middleware
        async def announce(request: web.Request, handler: Any) -> web.StreamResponse:
            try:
                answer: web.StreamResponse = await handler(request)
                return answer
            finally:
                self.over.set()

        return announce


def _cancel_handlers_of_lost_clients(server: TestServer, cancels: bool) -> None:
    # The test server always does; whether a real one does is an option of its runner.
    assert server.runner is not None
    assert server.runner.server is not None
    server.runner.server.handler_cancellation = cancels


async def test_a_request_becomes_one_line_of_what_we_decided(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(Door().app)
    with capture_logs() as logs:
        await client.post(
            "/api/ext/hello?token=hush",
            data=b"123456",
            headers={"x-request-id": "r1", "User-Agent": "hush", "Cookie": "a=hush"},
        )
    assert logs == [
        {
            "event": "request_answered",
            "log_level": "info",
            "request_id": "r1",
            "method": "POST",
            "route": "/api/ext/{extension}",
            "status": 200,
            "duration_ms": 250.0,
            "bytes_in": 6,
            "bytes_out": 6,
            "tenant": "acme",
            "extension": "hello",
            "backend": "embedded",
            "generation": 2,
        }
    ]


async def test_a_path_of_the_clients_making_is_not_logged(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(Door().app)
    with capture_logs() as logs:
        await client.request("PROPFIND", "/secret-in-a-path?and=query")
    assert (logs[0]["route"], logs[0]["method"], logs[0]["status"]) == ("unmatched", "OTHER", 404)
    assert "secret" not in str(logs)


@pytest.mark.parametrize(
    ("method", "path", "status", "bytes_out", "level"),
    [
        ("GET", "/streamed", 203, 8, "info"),
        ("HEAD", "/broken", 500, 0, "warning"),
        ("GET", "/redirect", 302, 0, "info"),
        ("GET", "/broken", 500, len("LookupError"), "warning"),
        ("GET", "/healthz", 200, 0, "debug"),
    ],
)
async def test_the_line_tells_what_the_client_got(
    aiohttp_client: AiohttpClient,
    method: str,
    path: str,
    status: int,
    bytes_out: int,
    level: str,
) -> None:
    client = await aiohttp_client(Door().app)
    with capture_logs() as logs:
        await client.request(method, path, allow_redirects=False)
    assert [line["event"] for line in logs] == ["request_answered"]
    got = (logs[0]["status"], logs[0]["bytes_out"], logs[0]["log_level"])
    assert got == (status, bytes_out, level)


async def test_an_answer_that_broke_off_says_so_and_why(aiohttp_server: AiohttpServer) -> None:
    door = Door()
    server = await aiohttp_server(door.app)
    with capture_logs() as logs:
        async with connection(server) as (_, writer):
            writer.write(head("GET /cut-off HTTP/1.1", "Host: here"))
            await door.over.wait()
    (line,) = logs
    assert (line["event"], line["log_level"], line["status"]) == (
        "request_answered",
        "warning",
        200,
    )
    assert (line["truncated"], line["reason"], line["phase"]) == (True, "body_cut_short", "body")
    assert line["bytes_out"] == 5


async def test_what_nobody_expected_is_told_in_full_though_the_answer_had_begun(
    aiohttp_server: AiohttpServer,
) -> None:
    door = Door()
    server = await aiohttp_server(door.app)
    with capture_logs() as logs:
        async with connection(server) as (_, writer):
            writer.write(head("GET /lost HTTP/1.1", "Host: here"))
            await door.over.wait()
    failed, answered = logs
    assert (failed["event"], failed["log_level"]) == ("request_failed", "error")
    assert (failed["failure"], failed["route"]) == ("LookupError", "/lost")
    assert failed["request_id"] == answered["request_id"]
    assert (answered["truncated"], answered["reason"]) == (True, "LookupError")


@pytest.mark.parametrize(
    ("path", "cancels"), [("/hangs", True), ("/endless", True), ("/endless", False)]
)
async def test_a_client_that_leaves_is_an_everyday_event(
    aiohttp_server: AiohttpServer, path: str, cancels: bool
) -> None:
    door = Door()
    server = await aiohttp_server(door.app)
    _cancel_handlers_of_lost_clients(server, cancels)
    with capture_logs() as logs:
        async with connection(server) as (_, writer):
            writer.write(head(f"GET {path} HTTP/1.1", "Host: here"))
            await door.entered.wait()
        await door.over.wait()
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("request_abandoned", "info")
    assert line["reason"] == "client_gone"


async def test_a_client_that_left_before_a_whole_answer_has_abandoned_it(
    aiohttp_server: AiohttpServer,
) -> None:
    door = Door()

    async def stubborn(request: web.Request) -> web.Response:
        door.entered.set()
        with suppress(ConnectionError):
            await request.content.wait_eof()
        return web.Response(text="too late")

    door.app.router.add_post("/stubborn", stubborn)
    server = await aiohttp_server(door.app)
    _cancel_handlers_of_lost_clients(server, False)
    with capture_logs() as logs:
        async with connection(server) as (_, writer):
            writer.write(head("POST /stubborn HTTP/1.1", "Host: here", "Content-Length: 9"))
            await door.entered.wait()
        await door.over.wait()
    assert [line["event"] for line in logs] == ["request_abandoned"]


async def test_lines_that_go_together_wait_for_a_moment_at_most() -> None:
    handed: list[Sequence[Entry]] = []
    lines = AccessLines(AccessLog, handed.append, together=3)

    def end(request_id: str, **facts: object) -> None:
        lines.write("request_answered", request_id, "GET", "/a", None, facts, 0.001, 0, 2)

    for number in range(4):
        end(f"r{number}", status=200)
    assert [len(entries) for entries in handed] == [3]
    await asyncio.sleep(SOON_S * 2)
    assert [len(entries) for entries in handed] == [3, 1]
    end("r4", status=503)
    lines.settle()
    end("r5", truncated=True, error=None)
    told = [(level, line) for entries in handed for _, level, _, line in entries]
    assert [line["request_id"] for _, line in told] == [f"r{number}" for number in range(6)]
    assert [level for level, _ in told] == ["info"] * 4 + ["warning"] * 2
    assert told[5][1] == {
        "request_id": "r5", "method": "GET", "route": "/a", "truncated": True,
        "duration_ms": 1.0, "bytes_in": 0, "bytes_out": 2,
    }  # fmt: skip
