"""Slow clients over TLS, whose transports hand on what they are given and do not say so."""

import asyncio
import math
import socket
import ssl
from asyncio import constants
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import uvloop
from structlog.testing import capture_logs
from structlog.typing import EventDict

from gateway.verbs.certificates import make_certificates
from tests.fakes.runner import FakeRunner, UiFile
from tests.gateway.harness import HASH, Gateway, given_up, in_front_of, running

FILE = f"/runner/ext-ui/registry-1/{HASH}/file.wasm"
BUFFER = 65_536
LARGE = b"\x00" * (64 * BUFFER)
SMALL = b"\x00" * 10_000
TIMES = 32  # that SMALL is a little more than both systems take, and less than makes anybody wait
STALLED_MS = 300
SOON_S = 20.0

NewLoop = Callable[[], asyncio.AbstractEventLoop]

on_both_loops = pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)


def run(story: Coroutine[None, None, None], new_loop: NewLoop) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(story)


@asynccontextmanager
async def asking(
    folder: Path, body: bytes, *fields: str, times: int = 1
) -> AsyncIterator[tuple[Gateway, ssl.SSLSocket]]:
    """A client that is being sent `body` over TLS, with small buffers in both systems."""
    lines = (f"GET {FILE} HTTP/1.1", "Host: localhost", *fields, "")
    request = "".join(f"{line}\r\n" for line in lines).encode()
    made = make_certificates(folder)
    trusted = ssl.create_default_context(cafile=made.authority)
    async with FakeRunner() as runner:
        tls = {"GATEWAY_TLS_CERT": str(made.server), "GATEWAY_TLS_KEY": str(made.server_key)}
        patience = dict.fromkeys(
            ("GATEWAY_BODY_IDLE_TIMEOUT_MS", "GATEWAY_KEEPALIVE_TIMEOUT_MS"), str(STALLED_MS)
        )
        async with running(in_front_of(runner, **tls, **patience)) as gateway:
            runner.files["file.wasm"] = UiFile(body=body, content_type="application/wasm")
            runner.may_answer.clear()

            def ask() -> ssl.SSLSocket:
                plain = socket.socket()
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
                plain.settimeout(SOON_S)
                plain.connect(("127.0.0.1", gateway.port))
                client = trusted.wrap_socket(plain, server_hostname="localhost")
                client.sendall(request)
                return client

            with await asyncio.to_thread(ask) as client:
                async with asyncio.timeout(SOON_S):
                    while "file.wasm" not in (await runner.asked.get()).target:
                        pass
                assert gateway.server.server is not None
                (connection,) = gateway.server.server.connections
                assert connection.transport is not None
                connection.transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER
                )
                with capture_logs() as log:
                    runner.may_answer.set()
                    assert await asyncio.to_thread(client.recv, 12) == b"HTTP/1.1 200"
                    for number in range(1, times):  # one by one: what is together may be too much
                        client.sendall(request)
                        async with asyncio.timeout(SOON_S):
                            while len(answered(log)) <= number:  # noqa: ASYNC110
                                await asyncio.sleep(0.001)
                yield gateway, client


def answered(log: list[EventDict]) -> list[EventDict]:
    return [line for line in log if line["event"] == "request_answered"]


def read(client: ssl.SSLSocket, at_most: float = math.inf) -> int:
    """Read to the end, or a record further than `at_most`; how many bytes that was."""
    size = 0
    while size < at_most and (part := client.recv(262_144)):
        size += len(part)
    return size


async def slowly(client: ssl.SSLSocket, parts: int) -> int:
    """Read so many small parts, with pauses that are shorter than the gateway's patience."""
    size = 0
    for _ in range(parts):
        await asyncio.sleep(STALLED_MS / 1000 / 6)
        size += await asyncio.to_thread(read, client, BUFFER)
    return size


@on_both_loops
def test_a_stop_waits_until_an_answer_has_left_this_process(
    tmp_path: Path, new_loop: NewLoop
) -> None:
    async def story() -> None:
        async with asking(tmp_path, SMALL, times=TIMES) as (gateway, client):
            server = gateway.server.server
            assert server is not None
            server.pre_shutdown()
            stopping = asyncio.create_task(server.shutdown(SOON_S))
            await asyncio.wait([stopping], timeout=0.2)
            assert not stopping.done()
            assert await asyncio.to_thread(read, client) > TIMES * len(SMALL)
            client.close()
            await stopping

    run(story(), new_loop)


@on_both_loops
def test_a_stop_waits_no_longer_than_it_may_for_whoever_does_not_read(
    tmp_path: Path, new_loop: NewLoop
) -> None:
    async def story() -> None:
        async with asking(tmp_path, SMALL, times=TIMES) as (gateway, _), asyncio.timeout(SOON_S):
            server = gateway.server.server
            assert server is not None
            server.pre_shutdown()
            await server.shutdown(0.1)

    run(story(), new_loop)


@on_both_loops
def test_whoever_reads_slowly_is_not_taken_for_stalled(tmp_path: Path, new_loop: NewLoop) -> None:
    async def story() -> None:
        async with asking(tmp_path, LARGE, "Connection: close") as (_, client):
            begun = await slowly(client, 48)
            assert begun + await asyncio.to_thread(read, client) > len(LARGE)

    run(story(), new_loop)


def test_a_connection_that_closes_has_its_time_to_the_last_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It is half a minute, in both loops; only this one's can be made shorter.
    monkeypatch.setattr(constants, "SSL_SHUTDOWN_TIMEOUT", 0.2)

    async def story() -> None:
        async with asking(tmp_path, LARGE, "Connection: close") as (_, client):
            begun = await slowly(client, 12)
            assert begun + await asyncio.to_thread(read, client) > len(LARGE)

    run(story(), asyncio.new_event_loop)


@on_both_loops
@pytest.mark.parametrize(
    ("body", "times", "fields"),
    [(SMALL, TIMES, ()), (LARGE, 1, ()), (LARGE, 1, ("Connection: close",))],
    ids=["small-ones", "kept-alive", "closing"],
)
def test_whoever_says_goodbye_and_does_not_read_holds_nothing(
    tmp_path: Path, new_loop: NewLoop, body: bytes, times: int, fields: tuple[str, ...]
) -> None:
    async def story() -> None:
        async with asking(tmp_path, body, *fields, times=times) as (_, client):
            client.setblocking(False)
            with suppress(ssl.SSLError):  # there is more to read
                client.unwrap()
            await given_up(client)

    run(story(), new_loop)
