"""The gateway, its runner and its client in one process, for a tool that counts instructions.

`python -m benchmarks.hot_path W1h 300` starts all three on one event loop, asks for every kind
of work like it a hundred times, and then 300 times for W1h. Requests follow each other over one
connection, so that two runs execute the same instructions.
"""

import asyncio
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import unquote_to_bytes

from aiohttp import web

from benchmarks.gateway import CACHED, PASSING, gateway_launch
from benchmarks.site import TENANT, Site, build_site
from benchmarks.workloads import Exchange, all_work
from gateway.app import create_app
from gateway.logs.process import ProcessLogs
from gateway.server import GatewayRunner
from gateway.settings import load
from middleware.caller import KEY_HEADER, TENANT_HEADER

PASSED_ON: Final = ("W1h", "W5", "W3", "EXT")
FROM_CACHE: Final = ("W4", "W5c")
WORK: Final = PASSED_ON + FROM_CACHE

_KEY: Final = "a-key-for-counting-instructions"
_WARM: Final = 100
_ANSWER_S: Final = 60.0  # a counted process is a hundred times slower
_HEAD_END: Final = b"\r\n\r\n"


class StandIn(asyncio.Protocol):
    """The runner: one prepared answer for each request target."""

    def __init__(self, answers: Mapping[bytes, bytes]) -> None:
        self._answers = answers
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        size = _message_bytes(self._received)
        if size is None or len(self._received) < size:
            return
        assert self._transport is not None
        head, self._received = self._received, self._received[size:]
        target = unquote_to_bytes(head.split(b" ", 2)[1].partition(b"?")[0])
        known = b"If-None-Match" in head or b"if-none-match" in head
        self._transport.write(self._answers[b"304" if known else target])


class Client:
    """Asks the same question and waits for as many bytes as the first answer had."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, request: bytes, *, bodiless: bool) -> bytes:
        """One exchange. Raises ConnectionError or asyncio.TimeoutError when it fails."""
        async with asyncio.timeout(_ANSWER_S):
            self._writer.write(request)
            head = await self._reader.readuntil(_HEAD_END)
            if not bodiless:
                await self._reader.readexactly((_message_bytes(head) or 0) - len(head))
            return head


async def exercise(work: str, times: int, folder: Path) -> None:
    """Start everything in `folder`, warm it, and do `work` so often.

    Raises:
        RuntimeError: an answer was not the right one.
    """
    site = build_site(folder / "bundles")
    cached = work in FROM_CACHE
    kind, flavour, alike = (
        ("gateway-cache", CACHED, FROM_CACHE) if cached else ("gateway", PASSING, PASSED_ON)
    )
    exchanges = {row.name: row.exchanges[kind] for row in all_work(site, _KEY) if row.name in alike}
    async with AsyncExitStack() as stack:
        answers = _answers(site)
        loop = asyncio.get_running_loop()
        runner = await loop.create_server(lambda: StandIn(answers), "127.0.0.1", 0)
        stack.callback(runner.close)
        runner_port = runner.sockets[0].getsockname()[1]
        port = await _gateway(stack, folder, flavour, f"http://127.0.0.1:{runner_port}")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        stack.callback(writer.close)
        client = Client(reader, writer)
        await _open_page(client, site)
        for name, count in (*((name, _WARM) for name in alike), (work, times)):
            exchange = exchanges[name]
            request = exchange.raw()
            for _ in range(count):
                head = await client.ask(request, bodiless=exchange.status == 304)
                if int(head.split(b" ", 2)[1]) != exchange.status:
                    raise RuntimeError(f"{name} was answered with {head[:15]!r}")


async def _gateway(
    stack: AsyncExitStack, folder: Path, flavour: Mapping[str, str], runner_url: str
) -> int:
    environ = gateway_launch(
        flavour, folder=folder / "gateway", port=0, runner_url=runner_url, key=_KEY
    ).environ
    told = {**environ, "GATEWAY_PROBE_INTERVAL_MS": "3600000"}
    settings = load(told)
    log = stack.enter_context((folder / "log").open("w"))
    logs = ProcessLogs(settings, log.fileno())
    stack.callback(logs.close)
    app = create_app(settings, load=lambda: load(told), access_sink=logs.access)
    server = GatewayRunner(app, settings.listen, shutdown_s=1.0)
    await server.setup()
    stack.push_async_callback(server.cleanup)
    await web.TCPSite(server, "127.0.0.1", 0).start()
    port: int = server.addresses[0][1]
    return port


async def _open_page(client: Client, site: Site) -> None:
    target = f"/gateway/v1/extensions/{site.install.extension_slug}/ui-url"
    headers = ((KEY_HEADER, _KEY), (TENANT_HEADER, TENANT))
    await client.ask(Exchange(target, headers, 200, b"").raw(), bodiless=False)


def _answers(site: Site) -> dict[bytes, bytes]:
    small = site.files["small.js"]
    etag = f"ETag: {small.etag}\r\n".encode()
    return {
        b"/healthz": _answer(b"application/json", b"", b"{}"),
        b"/v1/execute": _answer(b"application/json", b"", site.answer),
        unquote_to_bytes(small.target): _answer(b"text/javascript", etag, small.content),
        b"304": b"HTTP/1.1 304 Not Modified\r\n" + etag + b"\r\n",
    }


def _answer(content_type: bytes, fields: bytes, body: bytes) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n%b"
        % (content_type, len(body), fields, body)
    )  # fmt: skip


def _message_bytes(received: bytes) -> int | None:
    """Length of the message that begins here; None while its head is not complete."""
    head, end, _ = received.partition(_HEAD_END)
    if not end:
        return None
    size = len(head) + len(end)
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            with suppress(ValueError):
                size += int(value)
    return size


if __name__ == "__main__":
    with TemporaryDirectory(prefix="gateway-hot-path-") as scratch:
        asyncio.run(exercise(sys.argv[1], int(sys.argv[2]), Path(scratch)))
