import asyncio

import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpClient, AiohttpServer

from middleware.backend_tag import SERVED_BY, ServedBy
from middleware.metrics import Metrics, metrics
from middleware.problem_details import problem_details
from tests.middleware.wire import connection, head, render


async def _served(request: web.Request) -> web.Response:
    request[SERVED_BY] = ServedBy("docker", 1)
    return web.Response(status=int(request.match_info["status"]))


async def _redirect(_request: web.Request) -> web.Response:
    raise web.HTTPFound("/elsewhere")


def _app(m: Metrics) -> web.Application:
    app = web.Application(middlewares=[metrics(m), problem_details(render)])
    app.router.add_get("/status/{status}", _served)
    app.router.add_get("/redirect", _redirect)
    return app


def _counted(m: Metrics, **labels: str) -> float | None:
    return m.registry.get_sample_value("gateway_requests_total", labels)


@pytest.mark.parametrize(
    ("status", "outcome"), [("200", "ok"), ("404", "client_error"), ("503", "server_error")]
)
async def test_a_request_is_counted_under_its_route_and_backend(
    aiohttp_client: AiohttpClient, status: str, outcome: str
) -> None:
    m = Metrics()
    client = await aiohttp_client(_app(m))
    for _ in range(2):
        await client.get(f"/status/{status}")
    labels = {"route": "/status/{status}", "backend": "docker"}
    assert _counted(m, method="GET", status=status, outcome=outcome, **labels) == 2
    timed = m.registry.get_sample_value("gateway_request_duration_seconds_count", labels)
    assert timed == 2


async def test_what_clients_invent_does_not_become_a_label(aiohttp_client: AiohttpClient) -> None:
    m = Metrics()
    client = await aiohttp_client(_app(m))
    await client.request("PROPFIND", "/invented")
    labels = {"route": "unmatched", "method": "OTHER", "backend": "none"}
    assert _counted(m, status="404", outcome="client_error", **labels) == 1


async def test_a_redirect_is_counted_as_the_answer_it_is(aiohttp_client: AiohttpClient) -> None:
    m = Metrics()
    client = await aiohttp_client(_app(m))
    await client.get("/redirect", allow_redirects=False)
    labels = {"route": "/redirect", "method": "GET", "backend": "none"}
    assert _counted(m, status="302", outcome="ok", **labels) == 1


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (asyncio.CancelledError, "abandoned"),
        (ConnectionResetError, "abandoned"),
        (LookupError, "broken_off"),
    ],
)
async def test_a_request_without_a_whole_answer_is_counted_too(
    aiohttp_server: AiohttpServer, failure: type[BaseException], outcome: str
) -> None:
    m = Metrics()

    async def fail(_request: web.Request) -> web.Response:
        raise failure

    app = web.Application(middlewares=[metrics(m)])
    app.router.add_get("/", fail)
    server = await aiohttp_server(app)
    async with connection(server) as (reader, writer):
        writer.write(head("GET / HTTP/1.1", "Host: here", "Connection: close"))
        await reader.read()
    labels = {"route": "/", "method": "GET", "backend": "none"}
    assert _counted(m, status="none", outcome=outcome, **labels) == 1


async def test_running_requests_can_be_seen_running(aiohttp_client: AiohttpClient) -> None:
    m = Metrics()
    entered, may_answer = asyncio.Event(), asyncio.Event()

    async def wait(_request: web.Request) -> web.Response:
        entered.set()
        await may_answer.wait()
        return web.Response()

    app = _app(m)
    app.router.add_get("/wait", wait)
    client = await aiohttp_client(app)
    running = asyncio.create_task(client.get("/wait"))
    await entered.wait()
    assert m.registry.get_sample_value("gateway_in_flight", {"route": "/wait"}) == 1
    may_answer.set()
    await running
    assert m.registry.get_sample_value("gateway_in_flight", {"route": "/wait"}) == 0


def test_two_applications_do_not_share_their_numbers() -> None:
    one, other = Metrics(), Metrics()
    one.count("/", "GET", 200, "none", "ok")
    labels = {"route": "/", "method": "GET", "status": "200", "backend": "none", "outcome": "ok"}
    assert (_counted(one, **labels), _counted(other, **labels)) == (1, None)
