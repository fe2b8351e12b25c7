"""The engine's log bytes become the same lines however they arrive."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.docker_engine.log_frames import LogDecoder, LogFramingError
from backends.runner_log import LogLine
from tests.fakes.docker_engine import frame

AT = "2026-11-23T14:05:00.123456789Z"
TEXTS = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=60)
MESSAGES = st.lists(st.tuples(st.sampled_from([1, 2]), TEXTS), max_size=8)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    return [data[begin:end] for begin, end in pairwise(places)]


def decoded(chunks: list[bytes], *, tty: bool, max_line_bytes: int = 1000) -> list[LogLine]:
    decoder = LogDecoder(tty=tty, max_line_bytes=max_line_bytes)
    lines = [line for chunk in chunks for line in decoder.feed(chunk)]
    return lines + decoder.end()


@given(MESSAGES, st.lists(st.integers(min_value=0), max_size=12))
def test_frames_give_the_messages_back_wherever_they_are_cut(
    messages: list[tuple[int, str]], places: list[int]
) -> None:
    data = b"".join(frame(f"{AT} {text}\n", stream=stream) for stream, text in messages)
    lines = decoded(cut(data, places), tty=False)
    wanted = [("stdout" if stream == 1 else "stderr", text, AT) for stream, text in messages]
    assert [(line.stream, line.text, line.at) for line in lines] == wanted


@given(st.lists(TEXTS, max_size=8), st.lists(st.integers(min_value=0), max_size=12))
def test_a_terminals_bytes_give_the_messages_back_wherever_they_are_cut(
    texts: list[str], places: list[int]
) -> None:
    data = b"".join(f"{AT} {text}\r\n".encode() for text in texts)
    lines = decoded(cut(data, places), tty=True)
    assert [(line.text, line.at) for line in lines] == [(text, AT) for text in texts]


@given(st.binary(max_size=300), st.lists(st.integers(min_value=0), max_size=6))
def test_any_bytes_of_a_terminal_are_lines_and_none_is_longer_than_the_bound(
    data: bytes, places: list[int]
) -> None:
    lines = decoded(cut(data, places), tty=True, max_line_bytes=16)
    assert lines == decoded([data], tty=True, max_line_bytes=16)
    assert len(lines) == data.count(b"\n") + (not data.endswith(b"\n") and data != b"")
    assert all(len(line.text) <= 16 for line in lines)


def test_a_line_in_pieces_is_one_line_without_the_instants_between() -> None:
    data = frame(f"{AT} a long ") + frame("2026-11-23T14:05:01Z line\n")
    assert decoded([data], tty=False) == [LogLine(text="a long line", at=AT)]


def test_pieces_of_the_two_streams_are_not_mixed() -> None:
    data = frame(f"{AT} out ") + frame(f"{AT} err\n", stream=2) + frame(f"{AT} put\n")
    lines = decoded([data], tty=False)
    assert [(line.stream, line.text) for line in lines] == [
        ("stderr", "err"),
        ("stdout", "out put"),
    ]


def test_a_line_past_the_bound_says_so_and_the_next_one_is_whole() -> None:
    data = frame(f"{AT} {'x' * 5000}\n") + frame(f"{AT} next\n")
    long, following = decoded([data], tty=False, max_line_bytes=100)
    assert (long.text, long.truncated) == ("x" * 100, True)
    assert (following.text, following.truncated) == ("next", False)


def test_what_is_no_utf8_is_replaced() -> None:
    data = struct.pack(">BxxxL", 1, 3) + b"\xff!\n"
    assert decoded([data], tty=False)[0].text == "\ufffd!"


def test_the_last_line_needs_no_end() -> None:
    assert decoded([frame(f"{AT} no end")], tty=False) == [LogLine(text="no end", at=AT)]
    assert decoded([], tty=False) == []


@pytest.mark.parametrize("data", [b"plain text without frames", b"\x01x\0\0\0\0\0\1a"])
def test_bytes_that_are_no_frames_are_refused_instead_of_waited_on(data: bytes) -> None:
    with pytest.raises(LogFramingError):
        decoded([data], tty=False)
