"""What the short reader takes, aiohttp's parser reads the same; and it takes nothing by halves."""

import asyncio
from typing import Any

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.fast_path.blocks import BLOCKS
from gateway.fast_path.reader import UNKNOWN, Parsed, RequestReader, Unfit

LINES = st.sampled_from(
    [
        b"GET /a HTTP/1.1", b"POST /a?b HTTP/1.1", b"get /a HTTP/1.1", b"GET  /a HTTP/1.1",
        b"GET /a HTTP/1.0", b"GET /a HTTP/2.0", b"GET /a b HTTP/1.1", b"GET http://x/ HTTP/1.1",
        b"GET /\xc3\xa9 HTTP/1.1", b"GET /a\tb HTTP/1.1", b" GET /a HTTP/1.1", b"GET /a",
        b"CONNECT a:1 HTTP/1.1", b"OPTIONS * HTTP/1.1", b"PRI * HTTP/2.0",
    ]
)  # fmt: skip
FIELDS = st.sampled_from(
    [
        b"Host: a", b"host: b", b"X: 1", b"X:2", b"X:", b"X: ", b"X:  1  ", b" folded", b"\tfolded",
        b"X : 1", b"X\x00: 1", b"X: a\x00b", b"X: a\rb", b"X: a\nb", b"no colon", b": empty",
        b"X: \xff\xfe", b"X: \xc3\xa9", b"Connection: close", b"Connection: keep-alive",
        b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: 3", b"Content-Length: 4",
        b"Content-Length: +3", b"Content-Length: 3, 3", b"Content-Length: 0x3", b"Expect: x",
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip", b"Content-Encoding: gzip",
        b"Accept: */*", b"User-Agent: one", b"User-Agent:  one", b"Authorization: Bearer a",
        b"X-Gateway-Key:  k", b"x-gateway-key: ", b"Content-Length: 0",
    ]
)  # fmt: skip
BREAKS = st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r"])
BODIES = st.sampled_from(
    [b"", b"", b"abc", b"abcd", b"3\r\nabc\r\n0\r\n\r\n", b"\r\n", b"\r\n\r\n"]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    lines = [draw(LINES), *draw(st.lists(FIELDS, max_size=5))]
    return b"".join(line + draw(BREAKS) for line in lines) + b"\r\n" + draw(BODIES)


def by_aiohttp(raw: bytes) -> tuple[Any, bytes]:
    """The one message that the library's parser finds."""
    loop = asyncio.new_event_loop()
    try:
        parser = HttpRequestParser(BaseProtocol(loop), loop, 2**16, max_headers=128)
        messages, upgraded, tail = parser.feed_data(raw)
        assert not upgraded
        assert not tail
        ((message, payload),) = messages
        assert payload.is_eof()
        return message, b"".join(payload._buffer) if hasattr(payload, "_buffer") else b""
    finally:
        loop.close()


@given(requests())
@example(b"GET /a HTTP/1.1\r\nHost: a\r\nX:  1\r\n\r\n")
@example(b"GET /a HTTP/1.0\r\nHost: a\r\n\r\n")
@example(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
@example(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
@example(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
def test_what_is_taken_is_what_the_library_reads(raw: bytes) -> None:
    found = RequestReader().read(raw)
    if not isinstance(found, Parsed):
        return
    message, body = by_aiohttp(raw)
    method, target, version = found.line.decode("ascii", "surrogateescape").split()
    assert (message.method, message.path, version) == (method, target, "HTTP/1.1")
    told = {name.lower(): value for name, value in message.headers.items()}
    assert found.fields == told
    assert (found.body or b"") == body
    assert message.should_close == (found.fields.get("connection", "").lower() == "close")


@given(requests(), requests())
@example(b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"GET /a HTTP/1.1\r\n\r\n")
def test_a_reader_keeps_nothing_of_what_it_did_not_take(first: bytes, second: bytes) -> None:
    reader = RequestReader()
    reader.read(first)
    assert reader.read(second) == RequestReader().read(second)


PLAIN = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"


@pytest.mark.parametrize("size", range(1, len(PLAIN)))
def test_a_part_of_a_request_says_what_is_left(size: int) -> None:
    left = None if size < len(PLAIN) - 3 else len(PLAIN) - size
    assert RequestReader().read(PLAIN[:size]) == Unfit(left)


@pytest.mark.parametrize(
    ("raw", "left"),
    [
        (PLAIN + b"GET", UNKNOWN),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, x-a\r\n\r\n", 0),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", UNKNOWN),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 0),
        (b"GET / HTTP/1.1\r\nX: a\r\n\r\n", 0),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 0),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n", 9),
    ],
)
def test_what_is_not_plain_goes_to_the_library(raw: bytes, left: int) -> None:
    assert RequestReader().read(raw) == Unfit(left)


PAGE = b"\r\nHost: a\r\nAccept: */*\r\nCookie: ui=1\r\n\r\n"


def test_fields_that_were_read_before_serve_every_line_they_come_with() -> None:
    reader = RequestReader()
    first, second = reader.read(b"GET /a HTTP/1.1" + PAGE), reader.read(b"GET /b HTTP/1.1" + PAGE)
    assert isinstance(first, Parsed)
    assert isinstance(second, Parsed)
    assert second.line == b"GET /b HTTP/1.1"
    assert second.fields == first.fields == {"host": "a", "accept": "*/*", "cookie": "ui=1"}
    assert second.body is None


@pytest.mark.parametrize("raw", [b"GET /a\tb HTTP/1.1" + PAGE, b"GET /a HTTP/1.1" + PAGE + b"x"])
def test_known_fields_vouch_for_nothing_else(raw: bytes) -> None:
    reader = RequestReader()
    assert isinstance(reader.read(b"GET /a HTTP/1.1" + PAGE), Parsed)
    assert reader.read(raw) == Unfit(UNKNOWN)


@pytest.mark.parametrize(
    "name",
    [
        "Authorization", "Proxy-Authorization", "X-Gateway-Key", "X-Gateway-Admin-Token",
        "X-Gateway-User", "X-Runner-Service-Token", "X-API-Key", "X-Of-Somebody-Elses-Secret",
    ],
)  # fmt: skip
def test_a_credential_is_read_from_each_request_and_kept_from_none(name: str) -> None:
    def read(secret: str) -> Parsed | Unfit:
        head = f"POST /a HTTP/1.1\r\nHost: a\r\n{name}:  {secret}\r\nContent-Length: 2\r\n\r\nok"
        return RequestReader().read(head.encode())

    for secret in ("known-to-one", "known-to-two", "known-to-one", "known-to-two"):
        found = read(secret)
        assert isinstance(found, Parsed)
        assert found.fields == {"host": "a", name.lower(): secret, "content-length": "2"}
        assert found.body == b"ok"
    assert "known-to" not in repr((BLOCKS._open, BLOCKS._sealed))


def test_what_follows_from_fields_is_kept_with_them_alone() -> None:
    first = RequestReader().read(b"GET /a HTTP/1.1" + PAGE)
    again = RequestReader().read(b"GET /b HTTP/1.1" + PAGE)
    other = RequestReader().read(b"GET /a HTTP/1.1" + PAGE.replace(b"ui=1", b"ui=2"))
    assert isinstance(first, Parsed)
    assert isinstance(again, Parsed)
    assert isinstance(other, Parsed)
    assert first.made is again.made is not other.made


def test_the_older_version_is_for_aiohttp_also_with_known_fields() -> None:
    reader = RequestReader()
    for line in (b"GET /a HTTP/1.1", b"GET /a HTTP/1.0", b"GET /a HTTP/1.1"):
        found = reader.read(line + PAGE)
        assert isinstance(found, Parsed) is line.endswith(b"1.1")
        assert isinstance(found, Parsed) or found == Unfit(0)


def test_a_connection_may_speak_with_another_credential_at_any_time() -> None:
    reader = RequestReader()
    for secret in ("first", "first", "second", "first", "second", "second"):
        for body in (b"", b"ok"):
            head = f"POST /a HTTP/1.1\r\nHost: a\r\nX-Gateway-Key: {secret}\r\n"
            found = reader.read(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            assert isinstance(found, Parsed)
            assert found.fields["x-gateway-key"] == secret
            assert found.fields["content-length"] == str(len(body))
            assert found.body == body
