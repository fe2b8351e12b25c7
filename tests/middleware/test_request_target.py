from urllib.parse import unquote_to_bytes

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pytest_aiohttp.plugin import AiohttpServer

from middleware import request_target as module
from middleware.connection_close import connection_close
from middleware.errors import InvalidPath, InvalidRequest, Refusal
from middleware.guard import guarded
from middleware.problem_details import problem_details
from middleware.request_target import check_host, check_target, request_target
from tests.middleware.wire import ask, body_of, connection, fields_of, head, render, status_of

_PIECES = r"/ . .. %2e %2E %2f %5C %00 % %zz %25 %c0%ae %C3%BC \ a ~ ? # %3A %3a : @ = x.y ... //"
pieces = st.sampled_from([*_PIECES.split(), " ", "\x01", "\x7f", "ü", "\udcff"])
targets = st.lists(pieces, max_size=8).map("".join) | st.text(max_size=12)


async def _pong(_request: web.Request) -> web.Response:
    return web.Response(text="pong")


def _app() -> web.Application:
    app = web.Application(
        middlewares=[
            connection_close(),
            problem_details(render),
            guarded(lambda _: (request_target(),)),
        ]
    )
    app.router.add_route("*", "/{rest:.*}", _pong)
    return app


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/api/ext/hello",
        "/api/ext/hello/a//b/",
        "/runner/ext-ui/hello/sha256%3Aabc/index.html?path=%2F&q=..%2f",
        "/a/...x/.hidden/b..",
        "/caf%C3%A9/100%25",
        "/a?",
        "/a?b=/../c\\d",
    ],
)
def test_a_target_with_one_reading_passes(target: str) -> None:
    check_target(target)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("", "target_not_origin_form"),
        ("*", "target_not_origin_form"),
        ("//evil.example/a", "target_not_origin_form"),
        ("http://evil.example/a", "target_not_origin_form"),
        ("evil.example:443", "target_not_origin_form"),
        ("/a#b", "target_has_fragment"),
        ("/a?b#c", "target_has_fragment"),
        ("/a b", "target_not_printable_ascii"),
        ("/a\x7f", "target_not_printable_ascii"),
        ("/ü", "target_not_printable_ascii"),
        ("/a?b=\udcff", "target_not_printable_ascii"),
    ],
)
def test_a_target_that_is_not_in_origin_form_is_refused(target: str, reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_target(target)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/..", "dot_segment"),
        ("/a/../b", "dot_segment"),
        ("/a/.", "dot_segment"),
        ("/a/..?q", "dot_segment"),
        ("/%2e%2E/a", "dot_segment"),
        ("/.%2e/a", "dot_segment"),
        ("/a%2Fb", "encoded_separator"),
        ("/a%5cb", "encoded_separator"),
        ("/a%00", "encoded_separator"),
        ("/a\\b", "backslash"),
        ("/a%", "malformed_percent_encoding"),
        ("/a%g0", "malformed_percent_encoding"),
        ("/%c0%ae%c0%ae/", "percent_encoding_not_utf_8"),
    ],
)
def test_a_path_with_two_readings_is_refused(target: str, reason: str) -> None:
    with pytest.raises(InvalidPath) as caught:
        check_target(target)
    assert caught.value.reason == reason


@given(targets)
def test_what_passes_means_the_same_before_and_after_decoding(target: str) -> None:
    try:
        check_target(target)
    except Refusal:
        return
    assert target[0] == "/"
    assert target[:2] != "//"
    assert target.isascii()
    assert target.isprintable()
    assert not {"#", " "} & set(target)
    path = target.partition("?")[0]
    decoded = unquote_to_bytes(path)
    assert decoded.count(b"/") == path.count("/")
    assert not {b".", b".."} & set(decoded.split(b"/"))
    assert b"\\" not in decoded
    assert b"\0" not in decoded
    decoded.decode("utf-8")


@given(targets)
def test_the_short_cut_accepts_nothing_that_the_long_way_refuses(target: str) -> None:
    if module._PLAIN_TARGET.fullmatch(target) is None:
        return
    module._check_target_in_full(target)


@pytest.mark.parametrize(
    "host", ["localhost", "a.example:8787", "127.0.0.1", "[::1]", "[::1]:80", "my_service:1"]
)
def test_a_host_with_or_without_a_port_passes(host: str) -> None:
    check_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a b",
        "h/evil@x",
        "user@host",
        "a:b",
        "a:99999",
        "a:1:2",
        "::1",
        "[::1",
        "[zz]",
        "[1.2.3.4]",
        "a,b",
        "a?b",
        "a\\b",
        "ü",
    ],
)
def test_a_host_that_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(InvalidRequest):
        check_host(host)


@pytest.mark.parametrize(
    ("line", "host", "reason"),
    [
        ("GET http://evil.example/a HTTP/1.1", "here", b"target_not_origin_form"),
        ("GET //evil.example/a HTTP/1.1", "here", b"target_not_origin_form"),
        ("CONNECT evil.example:443 HTTP/1.1", "here", b"target_not_origin_form"),
        ("GET /a#b HTTP/1.1", "here", b"target_has_fragment"),
        ("GET /a/%2e%2e/b HTTP/1.1", "here", b"dot_segment"),
        ("GET /a HTTP/1.1", "here/evil@x", b"invalid_host"),
        ("GET /a HTTP/2.0", "here", b"unsupported_http_version"),
    ],
)
async def test_an_ambiguous_request_reaches_no_handler(
    aiohttp_server: AiohttpServer, line: str, host: str, reason: bytes
) -> None:
    server = await aiohttp_server(_app())
    answer = await ask(server, line, f"Host: {host}", "Connection: close")
    assert (status_of(answer), body_of(answer)) == (400, reason)


async def test_the_servers_own_options_passes(aiohttp_server: AiohttpServer) -> None:
    server = await aiohttp_server(_app())
    answer = await ask(server, "OPTIONS * HTTP/1.1", "Host: here", "Connection: close")
    assert status_of(answer) == 404  # no route, but no refusal either


@pytest.mark.parametrize(
    ("version", "coding"),
    [("1.1", "gzip, chunked"), ("1.0", "chunked")],
)
async def test_a_framing_that_others_read_differently_ends_the_connection(
    aiohttp_server: AiohttpServer, version: str, coding: str
) -> None:
    server = await aiohttp_server(_app())
    lines = (f"POST /a HTTP/{version}", "Host: here", "Connection: keep-alive")
    # A smuggled request behind the doubtful end must not be answered.
    behind = b"0\r\n\r\n" + head("GET /b HTTP/1.1", "Host: here")
    answer = await ask(server, *lines, f"Transfer-Encoding: {coding}", body=behind)
    assert body_of(answer) == b"unsupported_transfer_encoding"
    assert fields_of(answer).get("connection", "close") == "close"


async def test_a_plain_chunked_request_passes(aiohttp_server: AiohttpServer) -> None:
    server = await aiohttp_server(_app())
    async with connection(server) as (reader, writer):
        writer.write(
            head(
                "POST /a HTTP/1.1", "Host: here", "Transfer-Encoding: Chunked", "Connection: close"
            )
            + b"2\r\nhi\r\n0\r\n\r\n"
        )
        assert body_of(await reader.read()) == b"pong"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/metrics", (200, b"pong")),
        ("/metrics?a=%6d", (200, b"pong")),
        ("/api/%6detrics/%78", (200, b"pong")),
        ("/%6detrics", (400, b"encoded_route")),
        ("/metric%73?a", (400, b"encoded_route")),
        ("/%61pi/x/y", (400, b"encoded_route")),
        ("/%6eowhere", (404, b"404")),
    ],
)
async def test_a_route_has_one_spelling(
    aiohttp_server: AiohttpServer, target: str, expected: tuple[int, bytes]
) -> None:
    app = web.Application(
        middlewares=[problem_details(render), guarded(lambda _: (request_target(),))]
    )
    app.router.add_get("/metrics", _pong)
    app.router.add_get("/api/{name}/{rest:.*}", _pong)
    server = await aiohttp_server(app)
    answer = await ask(server, f"GET {target} HTTP/1.1", "Host: here", "Connection: close")
    assert (status_of(answer), body_of(answer)) == expected
