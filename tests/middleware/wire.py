"""A client that sends exactly the bytes it is told, and a door that shows why it refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from aiohttp.test_utils import TestServer

from middleware.errors import (
    Forbidden,
    InvalidPath,
    InvalidRequest,
    Overloaded,
    PayloadTooLarge,
    RateLimited,
    Refusal,
    RequestTimeout,
    Unauthenticated,
)

STATUS: Final[dict[type[Refusal], int]] = {
    InvalidRequest: 400,
    InvalidPath: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    PayloadTooLarge: 413,
    RequestTimeout: 408,
    Overloaded: 503,
    RateLimited: 429,
}


def render(_request: web.Request, failure: Exception) -> web.Response:
    """The reason as the body, so that a test can tell one 400 from another."""
    if isinstance(failure, web.HTTPException):
        return web.Response(status=failure.status, text=str(failure.status))
    for kind in type(failure).__mro__:
        if kind in STATUS and isinstance(failure, Refusal):
            return web.Response(status=STATUS[kind], text=failure.reason)
    return web.Response(status=500, text=type(failure).__name__)


@asynccontextmanager
async def connection(
    server: TestServer,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """One TCP connection to the server, gone at the end of the block."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def ask(server: TestServer, *lines: str, body: bytes = b"") -> bytes:
    """Send a head and a body; everything that comes back until the server closes.

    The server closes when the head says so, or when it refuses to go on.
    """
    async with connection(server) as (reader, writer):
        writer.write(head(*lines) + body)
        return await reader.read()


def head(*lines: str) -> bytes:
    """A request head of these lines, undecodable characters as single bytes."""
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")


def status_of(answer: bytes) -> int:
    """The status in an answer's first line."""
    return int(answer.split(b" ", 2)[1])


def body_of(answer: bytes) -> bytes:
    """What follows an answer's head."""
    return answer.partition(b"\r\n\r\n")[2]


def fields_of(answer: bytes) -> dict[str, str]:
    """An answer's header fields, names in lower case."""
    lines = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(": ") for line in lines)
    return {name.lower(): value for name, _, value in pairs}
