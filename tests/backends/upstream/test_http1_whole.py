"""An answer that is read in one go says what it says when it comes byte by byte."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backends.contract import Pairs
from backends.upstream.http1_answer import AnswerFault, AnswerReader
from backends.upstream.http1_whole import WholeAnswerReader

LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.0 200 OK", b"HTTP/1.1 99 X",
        b"HTTP/1.1 304 Not Modified", b"HTTP/1.1 204 No Content", b"HTTP/1.1 100 Continue",
        b"HTTP/1.1 999 X", b"HTTP/1.1  200 OK", b"http/1.1 200 OK", b"HTTP/1.1 503 \xff",
    ]
)  # fmt: skip
FIELDS = st.sampled_from(
    [
        b"Content-Length: 3", b"content-length: 3", b"Content-Length: 4", b"Content-Length: 03",
        b"Content-Length: +3", b"Content-Length: 3, 3", b"Content-Length:", b"Content-Length: 0",
        b"Transfer-Encoding: chunked", b"Connection: close", b"Connection: keep-alive",
        b"Connection: x", b"Keep-Alive: timeout=5", b"Upgrade: h2c", b"ETag: \"1\"", b"X: \xff",
        b"X:  1 ", b" folded", b"X : 1", b"X\x00: 1", b"X: a\rb", b"no colon", b"Set-Cookie: a=1",
    ]
)  # fmt: skip
BREAKS = st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r"])
BODIES = st.sampled_from([b"", b"abc", b"abcd", b"3\r\nabc\r\n0\r\n\r\n", b"\r\n\r\n"])


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    lines = [draw(LINES), *draw(st.lists(FIELDS, max_size=5))]
    return b"".join(line + draw(BREAKS) for line in lines) + b"\r\n" + draw(BODIES)


def read_by(reader: WholeAnswerReader, raw: bytes) -> tuple[int, Pairs, bytes] | None:
    found = reader.read(raw)
    return None if found is None else (found.status, found.headers, found.body.take())


@given(answers())
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: 1\r\n\r\nabc")
@example(b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n')
@example(b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n\r\n\r\n")
def test_both_readers_are_of_one_mind(raw: bytes) -> None:
    whole = read_by(WholeAnswerReader(), raw)
    if whole is None:
        return
    slow = AnswerReader()
    content = b""
    for byte in raw:
        slow.feed(bytes([byte]))
        content += slow.take()
    assert slow.complete
    assert slow.keep_alive
    assert not slow.excess
    assert (slow.status, slow.headers, content) == whole


@pytest.mark.parametrize(
    "raw",
    [
        b'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nETag: "1"\r\n\r\nabc',
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
        b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n',
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n\r\n",  # as nginx says it
    ],
)
def test_plain_answers_are_read_in_one_go_again_and_again(raw: bytes) -> None:
    reader = WholeAnswerReader()
    first = read_by(reader, raw)
    assert first is not None
    assert read_by(reader, raw) == read_by(reader, raw) == first


@given(answers(), answers())
def test_nothing_is_kept_of_an_answer_that_was_not_taken(first: bytes, second: bytes) -> None:
    reader = WholeAnswerReader()
    reader.read(first)
    assert read_by(reader, second) == read_by(WholeAnswerReader(), second)


PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"


@pytest.mark.parametrize("size", range(1, len(PLAIN)))
def test_a_part_is_no_answer(size: int) -> None:
    assert WholeAnswerReader().read(PLAIN[:size]) is None


def test_two_answers_are_not_one() -> None:
    reader = AnswerReader()
    try:
        reader.feed(PLAIN + PLAIN)
    except AnswerFault:
        return
    assert reader.excess
