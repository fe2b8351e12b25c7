import asyncio
import time

import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpClient

from middleware.errors import Overloaded
from middleware.load_shed import InFlight, LoadShed, load_shed
from middleware.problem_details import problem_details


def _told_to_wait(_request: web.Request, failure: Exception) -> web.Response:
    assert isinstance(failure, Overloaded)
    return web.Response(status=503, headers={"Retry-After": str(failure.retry_after_s)})


class Door:
    """An application whose handlers wait until they are let go."""

    def __init__(self, limit: int) -> None:
        self.config = LoadShed(limit=limit, retry_after_s=7)
        self.in_flight = InFlight()
        self.entered: asyncio.Queue[None] = asyncio.Queue()
        self.may_answer = asyncio.Event()
        shed = load_shed(
            lambda: self.config,
            in_flight=self.in_flight,
            is_exempt=lambda request: request.path == "/healthz",
        )
        self.app = web.Application(middlewares=[problem_details(_told_to_wait), shed])
        self.app.router.add_get("/", self._wait)
        self.app.router.add_get("/healthz", self._well)

    async def _wait(self, _request: web.Request) -> web.Response:
        self.entered.put_nowait(None)
        await self.may_answer.wait()
        return web.Response()

    async def _well(self, _request: web.Request) -> web.Response:
        return web.Response(text=str(self.in_flight.count))


async def test_the_one_too_many_is_told_when_to_come_back(aiohttp_client: AiohttpClient) -> None:
    door = Door(limit=1)
    client = await aiohttp_client(door.app)
    first = asyncio.create_task(client.get("/"))
    await door.entered.get()

    second = await client.get("/")
    probe = await client.get("/healthz")
    door.may_answer.set()

    ((began_at, waiting),) = door.in_flight.longest()
    assert (waiting.path, began_at <= time.time()) == ("/", True)
    assert (second.status, second.headers["Retry-After"]) == (503, "7")
    assert (probe.status, await probe.text()) == (200, "1")
    assert (await first).status == 200
    assert (await client.get("/")).status == 200
    assert door.in_flight.count == 0
    assert door.in_flight.longest() == ()


async def test_a_reload_moves_the_limit(aiohttp_client: AiohttpClient) -> None:
    door = Door(limit=1)
    client = await aiohttp_client(door.app)
    first = asyncio.create_task(client.get("/"))
    await door.entered.get()

    door.config = LoadShed(limit=2)
    second = asyncio.create_task(client.get("/"))
    await door.entered.get()
    assert door.in_flight.count == 2

    door.may_answer.set()
    assert [(await first).status, (await second).status] == [200, 200]


def test_a_limit_below_one_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        LoadShed(limit=0)
