"""One connection, and answers taken off it one by one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

PATIENCE_S = 10.0
_OF_ONE_ANSWER = frozenset({"date", "x-request-id"})


@dataclass(frozen=True)
class Told:
    """An answer, without what is its alone."""

    status: int
    fields: list[tuple[str, str]]  # sorted, names in lower case
    body: bytes


class Wire:
    """A client that sends bytes and reads answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, raw: bytes) -> None:
        self.writer.write(raw)

    async def answer(self, *, to: str = "GET") -> Told:
        """The next one. Raises when none comes, or only a part."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            line, *lines = head[:-4].decode("latin-1").split("\r\n")
            fields = [
                (name.lower(), value) for name, _, value in (x.partition(": ") for x in lines)
            ]
            status, told = int(line.split()[1]), dict(fields)
            body = b""
            if to != "HEAD" and status not in (204, 304):
                body = await self._body(told)
        kept = sorted(pair for pair in fields if pair[0] not in _OF_ONE_ANSWER)
        assert told.keys() >= _OF_ONE_ANSWER
        # A problem document repeats the id.
        return Told(status, kept, body.replace(told["x-request-id"].encode(), b"(the id)"))

    async def _body(self, told: dict[str, str]) -> bytes:
        if "content-length" in told:
            return await self.reader.readexactly(int(told["content-length"]))
        assert told["transfer-encoding"] == "chunked"
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readline()
        await self.reader.readline()
        return body


@asynccontextmanager
async def wire_to(port: int) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


def request(line: str, *fields: str, body: bytes = b"") -> bytes:
    """A whole request of HTTP/1.1."""
    lines = [f"{line} HTTP/1.1", "Host: localhost", *fields]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape") + body
