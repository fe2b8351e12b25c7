"""A listener that writes exactly the bytes a test gives it: how real runners break.

    async with RawRunner(send(response(b"{}"))) as runner:
        ...  # talk to runner.url
        assert len(runner.requests) == 1

Each request is answered by one step: the n-th request by the n-th step, and the last step by
everything after that. A step gets the `Wire` and does with it as it likes; the functions
below make the usual ones. No HTTP library is involved, so nothing is mended on the way out.
"""

import asyncio
import os
import re
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

CRLF = b"\r\n"


@dataclass(frozen=True, slots=True)
class RawRequest:
    """One request as it was on the wire."""

    head: bytes  # request line and fields, without the empty line
    body: bytes
    connection: int  # counted from 1

    @property
    def method(self) -> str:
        return self.head.partition(b" ")[0].decode()

    @property
    def target(self) -> str:
        return self.head.split(CRLF)[0].split(b" ")[1].decode("latin-1")

    def field(self, name: str) -> str | None:
        """The value of one field; None when it is not there."""
        for line in self.head.split(CRLF)[1:]:
            known, _, value = line.partition(b":")
            if known.decode("latin-1").lower() == name.lower():
                return value.strip().decode("latin-1")
        return None


class Wire:
    """One connection, seen from the runner."""

    def __init__(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.number = number
        self.reader = reader
        self._writer = writer

    @property
    def open(self) -> bool:
        return not self._writer.is_closing()

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        with suppress(ConnectionError):
            await self._writer.drain()

    def close(self) -> None:
        """A polite end: FIN."""
        self._writer.close()

    def close_unnoticed(self) -> None:
        """FIN at once, while the peer's event loop has had no turn to see it."""
        number = os.dup(self._writer.get_extra_info("socket").fileno())
        with socket.socket(fileno=number) as twin:  # uvloop's own sockets cannot be shut down
            twin.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """A rude one: RST, whatever the peer has not read yet is lost."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Step = Callable[[Wire], Awaitable[None]]


def response(
    body: bytes = b"",
    *,
    status: str = "200 OK",
    fields: Iterable[tuple[str, str]] = (),
    length: int | None = None,
) -> bytes:
    """A whole answer with Content-Length; `length` makes that field lie."""
    announced = len(body) if length is None else length
    return head(status, [*fields, ("Content-Length", str(announced))]) + body


def chunked(*parts: bytes, end: bool = True) -> bytes:
    """A whole chunked answer; without `end` it lacks the last chunk."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return (
        head("200 OK", [("Transfer-Encoding", "chunked")]) + body + (b"0\r\n\r\n" if end else b"")
    )


def head(status: str = "200 OK", fields: Iterable[tuple[str, str]] = ()) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join(lines).encode("latin-1") + CRLF + CRLF


def send(*parts: bytes, then: str = "stay") -> Step:
    """Write the parts, then "stay" on the line, "close" it or "reset" it."""

    async def step(wire: Wire) -> None:
        for part in parts:
            await wire.send(part)
        if then == "close":
            wire.close()
        elif then == "reset":
            wire.reset()

    return step


def hang(*parts: bytes) -> Step:
    """Write the parts and then nothing, until the peer leaves."""

    async def step(wire: Wire) -> None:
        for part in parts:
            await wire.send(part)
        await wire.reader.read()

    return step


def trickle(start: bytes, *, byte: bytes = b" ", every_s: float = 0.01) -> Step:
    """Write `start` and then one byte after the other, until the peer leaves."""

    async def step(wire: Wire) -> None:
        await wire.send(start)
        while wire.open:
            await wire.send(byte)
            await asyncio.sleep(every_s)  # a rate, not a synchronisation

    return step


def flood(start: bytes, part: bytes, *, at_once: int = 64) -> Step:
    """Send `start`, then `part` again and again, as fast as it is taken, until the peer leaves."""

    async def step(wire: Wire) -> None:
        await wire.send(start)
        while wire.open:
            await wire.send(part * at_once)

    return step


class RawRunner:
    """Listens on 127.0.0.1 between `async with` and its end.

    Args:
        steps: what to do with the n-th request.
        on_connect: done before a connection's first request is read.
        read_bodies: False: a step runs as soon as the head is in, once for each connection.
        tls: speak TLS.

    Attributes:
        requests: every request so far.
        connections: how many connections were accepted.
        asked: every request, as soon as it has been read.
        left: the number of each connection whose peer went away.
    """

    def __init__(
        self,
        *steps: Step,
        on_connect: Step | None = None,
        read_bodies: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._steps = steps
        self._on_connect = on_connect
        self._read_bodies = read_bodies
        self._tls = tls
        self._wires: list[Wire] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.requests: list[RawRequest] = []
        self.connections = 0
        self.asked: asyncio.Queue[RawRequest] = asyncio.Queue()
        self.left: asyncio.Queue[int] = asyncio.Queue()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, ssl=self._tls, limit=2**20
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def push(self, data: bytes) -> None:
        """Write to every open connection out of turn, and let the peer's loop notice."""
        for wire in self._wires:
            if wire.open:
                await wire.send(data)
        await _one_turn()

    async def hang_up(self) -> None:
        """Close every open connection, and let the peer's loop notice."""
        for wire in self._wires:
            wire.close()
        await _one_turn()

    def hang_up_unnoticed(self) -> None:
        """Close every open connection; the peer's loop has no turn to notice."""
        for wire in self._wires:
            wire.close_unnoticed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        wire = Wire(self.connections, reader, writer)
        self._wires.append(wire)
        try:
            if self._on_connect is not None:
                await self._on_connect(wire)
            while wire.open and (request := await self._read(wire)) is not None:
                self.requests.append(request)
                self.asked.put_nowait(request)
                await self._steps[min(len(self.requests), len(self._steps)) - 1](wire)
                if not self._read_bodies:
                    return
        except (ConnectionError, asyncio.CancelledError):
            pass  # the peer went away, or the test is over
        finally:
            self.left.put_nowait(wire.number)
            writer.close()
            self._tasks.discard(task)

    async def _read(self, wire: Wire) -> RawRequest | None:
        try:
            block = await wire.reader.readuntil(CRLF + CRLF)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return None
        top = block.removesuffix(CRLF + CRLF)
        announced = re.search(rb"(?im)^content-length:\s*(\d+)", top)
        body = b""
        if announced and self._read_bodies:
            body = await wire.reader.readexactly(int(announced[1]))
        return RawRequest(top, body, wire.number)


async def _one_turn() -> None:
    """Let the event loop, which both ends share, look at its sockets once."""
    for _ in range(3):
        await asyncio.sleep(0)
