"""A client that stops reading its answer is let go; one that reads slowly is not."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from gateway.fast_path.parts import FastProtocol
from gateway.keys import FAST_PATH
from tests.fakes.runner import Envelope, FakeRunner, UiFile
from tests.gateway.fast_path.wire import request, wire_to
from tests.gateway.harness import HASH, Gateway, given_up, in_front_of, running

LARGE = b"\x00" * 12_000_000  # more than the system takes on loopback for one connection
FILE = f"/runner/ext-ui/registry-1/{HASH}/large.wasm"
STALLED_MS = 300
BUFFER = 65_536
SOON_S = 20.0


@pytest.fixture
def slow() -> Iterator[socket.socket]:
    """A client's socket with a small buffer."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        client.setblocking(False)
        yield client


async def ask(client: socket.socket, gateway: Gateway, target: str, *fields: str) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", gateway.port))
    head = "".join(f"{line}\r\n" for line in (f"GET {target} HTTP/1.1", "Host: localhost", *fields))
    await loop.sock_sendall(client, f"{head}\r\n".encode())


def environ_of(runner: FakeRunner) -> dict[str, str]:
    return in_front_of(runner, GATEWAY_BODY_IDLE_TIMEOUT_MS=str(STALLED_MS))


async def in_flight(gateway: Gateway) -> float:
    async with gateway.client.get(f"{gateway.url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("gateway_in_flight{") and "ext" in line
    )


@pytest.mark.parametrize(
    ("fields", "long_way"),
    [((), False), (("Connection: close",), False), ((), True)],
    ids=["kept-alive", "closing", "long-way"],
)
async def test_a_file_that_nobody_reads_holds_nothing(
    runner: FakeRunner, slow: socket.socket, fields: tuple[str, ...], long_way: bool
) -> None:
    runner.files["large.wasm"] = UiFile(body=LARGE, content_type="application/wasm")
    async with running(environ_of(runner)) as gateway:
        if long_way:  # a gateway that leaves everything to the library
            del gateway.app._state[FAST_PATH]
        await ask(slow, gateway, FILE, *fields)
        await runner.asked.get()
        await given_up(slow)
        async with asyncio.timeout(SOON_S):
            while await in_flight(gateway):
                pass
        assert gateway.live.slot.current.backend.stats().connections_in_use == 0


async def test_an_answer_that_came_whole_and_that_nobody_reads_is_dropped(
    runner: FakeRunner, slow: socket.socket
) -> None:
    runner.script.append(Envelope(status=200, body=LARGE))
    async with running(environ_of(runner)) as gateway:
        await ask(slow, gateway, "/api/ext/acme.crm/hello", "Connection: close")
        await runner.asked.get()
        await given_up(slow)


async def test_whoever_reads_slowly_gets_all_of_it(runner: FakeRunner, slow: socket.socket) -> None:
    runner.files["large.wasm"] = UiFile(body=LARGE, content_type="application/wasm")
    async with running(environ_of(runner)) as gateway:
        await ask(slow, gateway, FILE, "Connection: close")
        loop = asyncio.get_running_loop()
        # Far less than what makes the system ask the gateway for more, for several of its limits.
        size = 0
        for _ in range(24):
            await asyncio.sleep(STALLED_MS / 1000 / 6)
            size += len(await loop.sock_recv(slow, BUFFER // 2))
        assert size < 1_000_000
        while part := await loop.sock_recv(slow, 262_144):
            size += len(part)
        assert size > len(LARGE)


async def test_a_stop_waits_until_an_answer_that_is_over_has_left_this_process(
    runner: FakeRunner, slow: socket.socket
) -> None:
    runner.script.append(Envelope(body=LARGE))
    runner.may_answer.clear()
    loop = asyncio.get_running_loop()
    async with running(in_front_of(runner)) as gateway:
        await ask(slow, gateway, "/api/ext/acme.crm/hello")
        async with asyncio.timeout(SOON_S):
            await runner.called()
        server = gateway.server.server
        assert server is not None
        (connection,) = server.connections
        assert connection.transport is not None
        # As if little of it were more than the system takes: nobody in here waits for the client.
        connection.transport.set_write_buffer_limits(high=2 * len(LARGE))
        runner.may_answer.set()
        assert await loop.sock_recv(slow, 12) == b"HTTP/1.1 200"
        server.pre_shutdown()
        stopping = asyncio.create_task(server.shutdown(SOON_S))
        await asyncio.wait([stopping], timeout=0.1)
        assert not stopping.done()
        size = 0
        while part := await loop.sock_recv(slow, 262_144):
            size += len(part)
        await stopping
    assert size > len(LARGE)


async def test_a_stop_waits_for_what_a_client_that_left_has_begun(runner: FakeRunner) -> None:
    log: list[str] = []
    begun = asyncio.Event()
    async with running(in_front_of(runner)) as gateway, wire_to(gateway.port) as wire:
        wire.send(request("GET /healthz"))
        await wire.answer()
        server = gateway.server.server
        assert server is not None
        (connection,) = server.connections
        assert isinstance(connection, FastProtocol)

        async def work() -> None:
            try:
                begun.set()
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.05)  # a second cancellation would come in here
                log.append("cleaned up")
                connection.over(keep_alive=True)

        connection.run(work())
        await begun.wait()
        stopping = asyncio.create_task(server.shutdown(SOON_S))
        await asyncio.sleep(0.01)
        wire.writer.transport.abort()
        await stopping
        assert log == ["cleaned up"]
