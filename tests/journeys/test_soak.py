"""A long life in minutes: clients that leave at once, a million requests, nothing left behind."""

import asyncio
import random
from pathlib import Path

import pytest

from tests.fakes.runner import FakeRunner
from tests.gateway.fast_path.wire import request
from tests.journeys.process import GatewayProcess, gateway_process

HASH = "sha256:" + "ab" * 32
FILE = request(f"GET /runner/ext-ui/registry-1/{HASH}/app.js", "Accept-Encoding: identity")
PASSED_ON = request(f"GET /runner/ext-ui/registry-1/{HASH}/index.html")
ABORTED = 10_000
REQUESTS = 1_000_000
CONNECTIONS = 32
WARM_UP = 50_000
GROWTH_KIB = 16 * 1024
PATIENCE_S = 30.0

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]


class Asker(asyncio.Protocol):
    """Asks the same over and over, on one connection, and counts whole answers."""

    def __init__(self, raw: bytes, times: int) -> None:
        self._raw = raw
        self._left = times
        self._received = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._raw)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or len(body) < int(head.lower().partition(b"content-length: ")[2].split()[0]):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self.done.set_exception(AssertionError(head))
            return
        self._received = b""
        self._left -= 1
        if self._left:
            self._transport.write(self._raw)
        else:
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("closed"))


async def ask(port: int, raw: bytes, times: int) -> None:
    """So many requests over CONNECTIONS connections."""
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Asker(raw, times // CONNECTIONS), "127.0.0.1", port)
        for _ in range(CONNECTIONS)
    ]
    await asyncio.gather(*(asker.done for _, asker in made))
    for transport, _ in made:
        transport.abort()


async def open_and_abort(port: int, dice: random.Random) -> None:
    """A client that sends a part of a request, or all of it, and is gone."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    raw = dice.choice((FILE, PASSED_ON))
    writer.write(raw[: dice.randint(0, len(raw))])
    await asyncio.sleep(dice.choice((0, 0, 0.001)))
    writer.transport.abort()


def status_of(gateway: GatewayProcess, field: str) -> int:
    text = Path(f"/proc/{gateway.pid}/status").read_text()
    return int(text.partition(f"{field}:")[2].split()[0])


def descriptors_of(gateway: GatewayProcess) -> int:
    return len(list(Path(f"/proc/{gateway.pid}/fd").iterdir()))


async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    dice = random.Random(1)
    async with FakeRunner() as runner:
        environ = {"RUNNER_BACKEND": "knative", "RUNNER_BASE_URL": runner.url}
        async with gateway_process(tmp_path, environ=environ, env_file={}) as gateway:
            port = int(gateway.url.rpartition(":")[2])
            await ask(port, FILE, WARM_UP)
            await ask(port, PASSED_ON, 3_200)
            descriptors, resident = await settled(gateway), status_of(gateway, "VmRSS")
            for _ in range(ABORTED // 20):
                await asyncio.gather(*(open_and_abort(port, dice) for _ in range(20)))
                runner.received.clear()
            assert await settled(gateway) <= descriptors
            await ask(port, FILE, REQUESTS)
            assert await settled(gateway) <= descriptors
            assert status_of(gateway, "VmRSS") < resident + GROWTH_KIB
            assert status_of(gateway, "Threads") < 32


async def settled(gateway: GatewayProcess) -> int:
    """The number of descriptors, once it has stopped to fall."""
    async with asyncio.timeout(PATIENCE_S):
        before, now = -1, descriptors_of(gateway)
        while before != now:
            await asyncio.sleep(0.5)
            before, now = now, descriptors_of(gateway)
    return now
