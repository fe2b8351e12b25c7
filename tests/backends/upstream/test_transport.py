"""What goes out is what was given, and what comes in is an answer or a named fault."""

import pytest

from backends.errors import Phase, RunnerProtocolError
from backends.upstream.transport import UpstreamRequest
from tests.backends.upstream.conftest import OpenTransport
from tests.backends.upstream.exchanges import PATIENT, ask
from tests.fakes.raw_runner import RawRunner, Step, Wire, chunked, head, response, send


async def test_the_target_goes_out_byte_for_byte(open_transport: OpenTransport) -> None:
    target = "/x%2Fy/%2e%2e/../z//%41;p=1?a=b|c&d={e}&f=%7e?"
    async with RawRunner(send(response())) as runner:
        await ask(open_transport(runner.url), target)
        assert runner.requests[0].target == target


async def test_nothing_is_added_to_the_fields_but_host_and_length(
    open_transport: OpenTransport,
) -> None:
    async with RawRunner(send(response())) as runner:
        transport = open_transport(runner.url)
        await ask(transport, headers=(("x-one", "1"), ("x-one", "2")))
        await ask(transport, method="POST", headers=(("content-type", "a/b"),), body=b"body")
        own = f"Host: 127.0.0.1:{runner.port}".encode()
        get, post = (request.head.split(b"\r\n")[1:] for request in runner.requests)
        assert get == [own, b"x-one: 1", b"x-one: 2"]
        assert post == [own, b"content-type: a/b", b"Content-Length: 4"]


@pytest.mark.parametrize("size", [1, 70_000, 3_000_000])
async def test_a_body_of_any_size_arrives_whole(open_transport: OpenTransport, size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    async with RawRunner(send(response(b"ok"))) as runner:
        await ask(open_transport(runner.url), method="POST", body=body)
        assert runner.requests[0].body == body


@pytest.mark.parametrize("target", ["http://evil/", "/a b", "/a#b", "/\r\nx: y", "", "/é"])
async def test_a_target_that_is_none_is_never_sent(
    open_transport: OpenTransport, target: str
) -> None:
    async with RawRunner(send(response())) as runner:
        with pytest.raises(RunnerProtocolError, match="unsendable_request"):
            await ask(open_transport(runner.url), target)
        assert runner.connections == 0


async def test_a_field_with_a_line_break_is_never_sent(open_transport: OpenTransport) -> None:
    async with RawRunner(send(response())) as runner:
        with pytest.raises(RunnerProtocolError, match="unsendable_request"):
            await ask(open_transport(runner.url), headers=(("x-a", "b\r\nx-evil: c"),))
        assert runner.requests == []


async def test_repeated_fields_of_an_answer_stay_apart_and_in_order(
    open_transport: OpenTransport,
) -> None:
    fields = [("Vary", "a"), ("ETag", '"1"'), ("VARY", "b")]
    async with RawRunner(send(response(b"", fields=fields))) as runner:
        answer = await ask(open_transport(runner.url))
    assert answer.headers[:3] == (("vary", "a"), ("etag", '"1"'), ("vary", "b"))


async def test_interim_answers_are_skipped(open_transport: OpenTransport) -> None:
    interim = head("100 Continue") + head("103 Early Hints", [("Link", "</a.css>")])
    async with RawRunner(send(interim, response(b"done"))) as runner:
        answer = await ask(open_transport(runner.url))
    assert (answer.status, answer.body) == (200, b"done")
    assert answer.headers == (("content-length", "4"),)


async def test_a_compressed_body_is_not_touched(open_transport: OpenTransport) -> None:
    body = b"\x1f\x8b no gzip at all"
    coded = response(body, fields=[("Content-Encoding", "gzip")])
    async with RawRunner(send(coded)) as runner:
        answer = await ask(open_transport(runner.url))
    assert answer.body == body
    assert ("content-encoding", "gzip") in answer.headers


async def test_a_redirect_is_an_answer_like_any_other(open_transport: OpenTransport) -> None:
    redirect = response(status="307 There", fields=[("Location", "/elsewhere")])
    async with RawRunner(send(redirect)) as runner:
        answer = await ask(open_transport(runner.url))
        assert answer.status == 307
        assert len(runner.requests) == 1


async def test_a_cookie_never_comes_back(open_transport: OpenTransport) -> None:
    async with RawRunner(send(response(fields=[("Set-Cookie", "a=b; Path=/")]))) as runner:
        transport = open_transport(runner.url)
        await ask(transport)
        await ask(transport)
        assert runner.requests[1].field("cookie") is None


@pytest.mark.parametrize(
    "step",
    [
        send(response(b"whole")),
        send(chunked(b"wh", b"ole")),
        send(head(), b"whole", then="close"),
    ],
    ids=["content-length", "chunked", "until-close"],
)
async def test_a_body_comes_whole_in_every_framing(
    open_transport: OpenTransport, step: Step
) -> None:
    async with RawRunner(step) as runner:
        assert (await ask(open_transport(runner.url))).body == b"whole"


@pytest.mark.parametrize(
    "step",
    [
        send(response(b"hal", length=6), then="close"),
        send(response(b"hal", length=6), then="reset"),
        send(chunked(b"hal", end=False), then="close"),
        send(chunked(b"hal", end=False), then="reset"),
    ],
    ids=["length-close", "length-reset", "chunked-close", "chunked-reset"],
)
async def test_a_body_that_breaks_off_never_ends_cleanly(
    open_transport: OpenTransport, step: Step
) -> None:
    async with RawRunner(step) as runner:
        with pytest.raises(RunnerProtocolError) as caught:
            await ask(open_transport(runner.url))
    # A reset can overtake the head; what never happens is a shorter body without an error.
    assert caught.value.reason in ("truncated_answer", "connection_lost_before_answer")


@pytest.mark.parametrize(
    ("first", "second", "then"),
    [
        (head() + b"hal", b"", "reset"),
        (chunked(b"hal", end=False), b"zz\r\n", "stay"),
    ],
    ids=["reset-before-close", "chunk-size-that-is-none"],
)
async def test_a_fault_while_the_body_is_being_read_is_noticed_at_once(
    open_transport: OpenTransport, first: bytes, second: bytes, then: str
) -> None:
    wires: list[Wire] = []

    async def begin(wire: Wire) -> None:
        await wire.send(first)
        wires.append(wire)

    async with RawRunner(begin) as runner:
        answer = await open_transport(runner.url).exchange(
            UpstreamRequest(method="GET", target="/", budget=PATIENT)
        )
        chunks = aiter(answer.body)
        assert await anext(chunks) == b"hal"
        await send(second, then=then)(wires[0])
        with pytest.raises(RunnerProtocolError, match="truncated_answer"):
            await anext(chunks)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (head("200 OK", [("A", "b" * 20_000)]), "upstream_header_too_large"),
        (head("200 " + "b" * 20_000), "upstream_header_too_large"),
        (head("200 OK", [("A", "b")] * 200), "upstream_header_too_large"),
        (b"SSH-2.0-OpenSSH\r\n", "malformed_answer"),
        (head("200 OK", [("Content-Length", "3"), ("Content-Length", "4")]), "malformed_answer"),
        (head("200 OK", [("Content-Length", "-1")]), "malformed_answer"),
        (
            head("200 OK", [("Content-Length", "3"), ("Transfer-Encoding", "chunked")]),
            "malformed_answer",
        ),
        (head("200 OK", [("Transfer-Encoding", "xchunked")]), "unsupported_transfer_coding"),
        (head("200 OK", [("Transfer-Encoding", "gzip, chunked")]), "unsupported_transfer_coding"),
        (
            head("101 Switching Protocols", [("Upgrade", "x"), ("Connection", "upgrade")]),
            "unexpected_status_101",
        ),
    ],
)
async def test_a_head_that_is_not_the_protocol_is_named(
    open_transport: OpenTransport, answer: bytes, reason: str
) -> None:
    async with RawRunner(send(answer)) as runner:
        transport = open_transport(runner.url)
        with pytest.raises(RunnerProtocolError) as caught:
            await ask(transport)
        assert (caught.value.reason, caught.value.phase) == (reason, Phase.FIRST_BYTE)
        assert transport.stats().idle == 0


@pytest.mark.parametrize("part", [b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nA: b\r\n"])
async def test_a_head_that_breaks_off_is_a_truncated_answer(
    open_transport: OpenTransport, part: bytes
) -> None:
    async with RawRunner(send(part, then="close")) as runner:
        with pytest.raises(RunnerProtocolError, match="truncated_answer"):
            await ask(open_transport(runner.url))


async def test_no_failure_repeats_what_the_runner_said(open_transport: OpenTransport) -> None:
    async with RawRunner(send(b"HTTP/1.1 2x0 s3cret-text\r\n\r\n")) as runner:
        with pytest.raises(RunnerProtocolError) as caught:
            await ask(open_transport(runner.url))
    assert "s3cret" not in f"{caught.value!r} {caught.value}"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
