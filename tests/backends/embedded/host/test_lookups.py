"""Guests' names are looked up where nobody else waits."""

import asyncio
import socket
import threading

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from backends.embedded.host.egress import (
    EgressClient,
    EgressFailed,
    EgressPolicy,
    EgressRefused,
    EgressRequest,
    EgressResponse,
)

MANY = 64
"""More than there are threads that files and the gateway's own names share."""


def asking(url: str) -> EgressRequest:
    return EgressRequest(method="GET", url=URL(url))


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Names under slow.test are looked up until this is set; there are no others."""
    # No name server of this machine can be silenced.
    answering = threading.Event()

    def silent(host: str, *_: object, **__: object) -> None:
        if host.endswith("slow.test"):
            answering.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    return answering


async def asked_for_slow_names(client: EgressClient) -> list[asyncio.Task[EgressResponse]]:
    sent = [
        asyncio.create_task(client.send(asking(f"http://{number}.slow.test/")))
        for number in range(MANY)
    ]
    for _ in range(20):  # turns, until each has asked for its name
        await asyncio.sleep(0)
    return sent


async def all_failed(sent: list[asyncio.Task[EgressResponse]]) -> None:
    for outcome in await asyncio.gather(*sent, return_exceptions=True):
        assert isinstance(outcome, EgressFailed)


async def test_a_name_server_that_does_not_answer_holds_up_guests_alone(
    answering: threading.Event,
) -> None:
    client = EgressClient(EgressPolicy(("slow.test",)))
    sent = await asked_for_slow_names(client)
    try:
        async with asyncio.timeout(20):
            await asyncio.to_thread(str)
        assert not any(each.done() for each in sent)
    finally:
        answering.set()
        await all_failed(sent)
        await client.aclose()


@pytest.mark.parametrize("given_up", [False, True])
async def test_it_holds_up_nobody_who_asks_for_names_of_another_entry(
    answering: threading.Event, given_up: bool
) -> None:
    client = EgressClient(EgressPolicy(("slow.test", "quick.test")))
    sent = await asked_for_slow_names(client)
    if given_up:  # the threads stay in their lookups all the same
        for each in sent:
            each.cancel()
    try:
        async with asyncio.timeout(20):
            with pytest.raises(EgressFailed):
                await client.send(asking("http://www.quick.test/"))
    finally:
        answering.set()
        await asyncio.gather(*sent, return_exceptions=True)
        await client.aclose()


@pytest.mark.parametrize("may_reach", [True, False])
async def test_a_name_is_looked_up_and_its_addresses_are_judged(may_reach: bool) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="here")

    app = web.Application()
    app.router.add_get("/", answer)
    client = EgressClient(EgressPolicy(("localhost",), lambda _: may_reach))
    async with TestServer(app, host="127.0.0.1") as server:
        request = asking(f"http://localhost:{server.port}/")
        if may_reach:
            assert (await client.send(request)).body == b"here"
        else:
            with pytest.raises(EgressRefused):
                await client.send(request)
    await client.aclose()
