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
)

MANY = 64
"""More than there are threads that files and the gateway's own names share."""


def asking(url: str) -> EgressRequest:
    return EgressRequest(method="GET", url=URL(url))


async def test_a_name_server_that_does_not_answer_holds_up_guests_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # No name server of this machine can be silenced.
    answering = threading.Event()

    def silent(*_: object, **__: object) -> None:
        answering.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    client = EgressClient(EgressPolicy(("slow.test",)))
    sent = [
        asyncio.create_task(client.send(asking(f"http://{number}.slow.test/")))
        for number in range(MANY)
    ]
    for _ in range(20):  # turns, until each has asked for its name
        await asyncio.sleep(0)
    try:
        async with asyncio.timeout(20):
            await asyncio.to_thread(str)
        assert not any(each.done() for each in sent)
    finally:
        answering.set()
        for outcome in await asyncio.gather(*sent, return_exceptions=True):
            assert isinstance(outcome, EgressFailed)
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
