"""An Answer is on the wire what the library's own Response would be."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.http.answer import Answer

CASES = {
    "text": (200, (("content-type", "text/plain"),), b"hello"),
    "no-type": (200, (), b"\x00\x01"),
    "empty": (200, (("content-type", "text/plain"),), b""),
    "no-content": (204, (("etag", '"1"'),), b""),
    "not-modified": (304, (("etag", '"1"'),), b""),
    "error": (503, (("content-type", "text/plain"), ("retry-after", "1")), b"later"),
    "large": (200, (("content-type", "image/png"),), b"x" * 200_000),
}


async def on_the_wire(response: web.StreamResponse, request_line: str, fields: str) -> bytes:
    async def answer(_: web.Request) -> web.StreamResponse:
        return response

    app = web.Application()
    app.router.add_route("*", "/", answer)
    async with TestServer(app) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(f"{request_line}\r\nHost: a\r\n{fields}Connection: close\r\n\r\n".encode())
        said = await reader.read()
        writer.close()
    return said


def parts(raw: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    head, _, body = raw.partition(b"\r\n\r\n")
    status_line, *lines = head.split(b"\r\n")
    fields = {name.lower(): value for name, value in (line.split(b": ", 1) for line in lines)}
    assert len(fields) == len(lines)
    fields.pop(b"date")
    fields.pop(b"server", None)
    return status_line, fields, body


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("case", CASES)
async def test_it_reads_like_the_librarys_own(case: str, method: str) -> None:
    status, headers, body = CASES[case]
    line = f"{method} / HTTP/1.1"
    ours = parts(await on_the_wire(Answer(status, headers, body), line, ""))
    theirs = parts(
        await on_the_wire(
            web.Response(status=status, headers=dict(headers), body=body or None), line, ""
        )
    )
    if not body or method == "HEAD":
        # Of a body that does not come the two say different things, all of them allowed.
        for fields in (ours[1], theirs[1]):
            fields.pop(b"content-type", None)
            fields.pop(b"content-length", None)
    assert ours == theirs


async def test_head_keeps_the_length_of_the_body_that_does_not_come() -> None:
    answer = Answer(200, (("content-type", "text/css"), ("content-length", "99")))
    _, fields, body = parts(await on_the_wire(answer, "HEAD / HTTP/1.1", ""))
    assert fields[b"content-length"] == b"99"
    assert body == b""


async def test_a_second_header_cannot_be_smuggled_in() -> None:
    answer = Answer(200, (("x-ext-note", "a\r\nset-cookie: b=c"),), b"x")
    said = await on_the_wire(answer, "GET / HTTP/1.1", "")
    assert b"set-cookie" not in said


async def test_a_connection_stays_open_for_the_next_request() -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return Answer(200, (), b"1")

    app = web.Application()
    app.router.add_get("/", answer)
    async with TestServer(app) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        for _ in range(3):
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"connection" not in head.lower()
            assert await reader.readexactly(1) == b"1"
        writer.close()
