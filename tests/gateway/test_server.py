"""What the HTTP server answers before the application has a say, byte for byte."""

import asyncio

import orjson
import pytest
from structlog.testing import capture_logs

from tests.fakes.runner import FakeRunner
from tests.gateway.fast_path.wire import wire_to
from tests.gateway.harness import Gateway, in_front_of, running


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has been refused and sends nothing more is soon given up."""
    monkeypatch.setattr("middleware.connection_close.LINGER_PAUSE_S", 0.1)


async def exchange(gateway: Gateway, raw: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send `raw`, read until the server closes: one answer, and nothing behind it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        writer.write(raw)
        async with asyncio.timeout(10):
            answer = await reader.read()
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    status_line, *lines = head.decode().split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines)
    assert len(body) == int(fields["content-length"])
    return int(status_line.split()[1]), fields, body


REFUSED = {
    "two-lengths": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        400,
    ),
    "length-and-chunked": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    "not-http": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400),
    "long-field": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
    "many-fields": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 200 + b"\r\n", 431),
    "absolute-form": (
        b"GET http://evil.example/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        400,
    ),
    "double-slash": (b"GET //evil/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400),
    "bad-host": (b"GET /healthz HTTP/1.1\r\nHost: h/evil@x\r\nConnection: close\r\n\r\n", 400),
    "tunnel": (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 400),
    "tunnel-with-a-body": (
        b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 5\r\n\r\nhello",
        400,
    ),
    "tunnel-and-a-request": (
        b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        400,
    ),
    "tunnel-to-a-route": (
        b"CONNECT /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        404,
    ),
    "http-2": (b"GET /healthz HTTP/2.0\r\nHost: a\r\nConnection: close\r\n\r\n", 400),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
async def test_a_broken_request_gets_a_problem_document_like_any_other(
    gateway: Gateway, case: str
) -> None:
    raw, status = REFUSED[case]
    told, fields, body = await exchange(gateway, raw)
    assert told == status
    assert fields["content-type"] == "application/problem+json"
    assert fields["cache-control"] == "no-store"
    assert fields["x-runner-backend"] == "docker"
    assert fields["x-runner-generation"] == "1"
    assert orjson.loads(body)["requestId"] == fields["x-request-id"]
    assert orjson.loads(body)["status"] == status
    assert orjson.loads(body)["backend"] == "docker"


@pytest.mark.parametrize(
    "case",
    ["two-lengths", "length-and-chunked", "not-http", "long-field", "many-fields", "http-2"],
)
async def test_what_nobody_could_read_is_answered_in_our_version_and_without_our_name(
    gateway: Gateway, case: str
) -> None:
    raw, status = REFUSED[case]
    async with wire_to(gateway.port) as wire:
        wire.send(raw)
        line = await wire.reader.readline()
        head = await wire.reader.readuntil(b"\r\n\r\n")
    assert line.startswith(f"HTTP/1.1 {status} ".encode())
    fields = [field.partition(b":")[0].lower() for field in head.split(b"\r\n")]
    assert b"server" not in fields
    assert b"connection" in fields


@pytest.mark.parametrize("case", REFUSED)
async def test_the_line_of_a_broken_request_says_what_is_known(gateway: Gateway, case: str) -> None:
    raw, status = REFUSED[case]
    with capture_logs() as lines:
        _, fields, body = await exchange(gateway, raw)
    (line,) = [line for line in lines if line.get("request_id") == fields["x-request-id"]]
    assert line["event"] in ("request_refused", "request_answered")
    assert (line["status"], line["error"]) == (status, orjson.loads(body)["error"])
    assert (line["backend"], line["generation"]) == ("docker", 1)
    assert isinstance(line["route"], str)
    assert line["duration_ms"] >= 0


@pytest.mark.parametrize(
    ("spoken", "reason"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), "tls_at_plain_port"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2_not_spoken"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\n", "proxy_protocol_not_spoken"),
        (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12), "proxy_protocol_not_spoken"),
        (b"SSH-2.0-x\r\n", "invalid_request"),
    ],
)
async def test_another_protocol_is_named(gateway: Gateway, spoken: bytes, reason: str) -> None:
    status, _, body = await exchange(gateway, spoken)
    assert (status, orjson.loads(body)["reason"]) == (400, reason)


async def test_a_head_that_never_ends_is_ended(runner: FakeRunner) -> None:
    async with running(in_front_of(runner, GATEWAY_HEADER_TIMEOUT_MS="50")) as gateway:
        with capture_logs() as lines:
            status, _, body = await exchange(gateway, b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")
    assert status == 408
    (line,) = [line for line in lines if line["event"] == "request_refused"]
    assert line["reason"] == "request_head_slow"
    assert line["duration_ms"] >= 50
    assert orjson.loads(body)["error"] == "request_timeout"


async def test_the_deadline_of_one_head_does_not_reach_the_next_request(
    runner: FakeRunner,
) -> None:
    async with running(in_front_of(runner, GATEWAY_HEADER_TIMEOUT_MS="200")) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        for _ in range(2):
            writer.write(b"GET /healthz HTTP/1.1\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)  # apart on the wire: the head comes in two pieces
            writer.write(b"Host: a\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()


async def test_no_continue_is_sent_for_a_body_that_is_refused(gateway: Gateway) -> None:
    raw = (
        b"POST /api/ext/acme.crm/echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        b"Content-Length: 2000000000\r\n\r\n"
    )
    status, fields, _ = await exchange(gateway, raw)
    assert status == 413
    assert fields["connection"] == "close"


async def test_nothing_is_there_to_ask_for_a_body(gateway: Gateway) -> None:
    upload = b"POST /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n"
    status, fields, _ = await exchange(gateway, upload + b"Expect: 100-continue\r\n\r\n")
    assert (status, fields["content-type"]) == (404, "application/problem+json")
    status, fields, _ = await exchange(gateway, upload + b"Expect: a-miracle\r\n\r\n")
    assert (status, fields["content-type"]) == (417, "application/problem+json")


async def test_continue_is_sent_when_the_body_is_wanted(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        b"POST /api/ext/acme.crm/echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        b"Content-Length: 2\r\nConnection: close\r\n\r\n"
    )
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"hi")
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
    writer.close()


UPLOAD = (
    b"POST /api/ext/acme.crm/echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
)


@pytest.mark.parametrize("body", [b"zz\r\n", b"2\r\nhi\r\nzz\r\n", b"2\nhi\n0\n\n"])
@pytest.mark.parametrize("apart_s", [0, 0.005])
async def test_a_body_with_broken_framing_is_refused_and_not_waited_for(
    gateway: Gateway, body: bytes, apart_s: float
) -> None:
    async with wire_to(gateway.port) as wire:
        wire.send(UPLOAD)
        if apart_s:
            await wire.writer.drain()
            await asyncio.sleep(apart_s)
        wire.send(body)
        told = await wire.answer()
        assert (told.status, orjson.loads(told.body)["reason"]) == (400, "malformed_body")
        assert dict(told.fields)["connection"] == "close"
        assert await wire.reader.read() == b""


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        ("Content-Encoding: gzip\r\nContent-Length: 4", b"zzzz"),
        ("Transfer-Encoding: chunked", b"z"),
    ],
)
async def test_a_broken_body_that_nobody_reads_is_not_in_the_log(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, framing: str, body: bytes
) -> None:
    head = f"GET /healthz HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n".encode()
    async with wire_to(gateway.port) as wire:
        wire.send(head + body)
        assert (await wire.answer()).status == 200
        assert await wire.reader.read() == b""
    assert not [record for record in caplog.records if record.name == "aiohttp.server"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("POST", "/healthz", 405),
        ("GET", "/api/ext/nobody/hello", 404),  # the fast path
        ("PUT", "/api/ext/acme.crm/hello", 405),
        ("POST", "/v1/execute", 401),
    ],
)
async def test_a_refusal_without_a_call_names_the_backend_of_now(
    gateway: Gateway, method: str, path: str, status: int
) -> None:
    with capture_logs() as lines:
        told, problem = await gateway.problem(method, path)
    assert (told, problem["backend"]) == (status, "docker")
    (line,) = [line for line in lines if line.get("request_id") == problem["requestId"]]
    assert (line["backend"], line["generation"]) == ("docker", 1)
