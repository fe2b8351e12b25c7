"""What a guest prints: lines of one call, whole where they fit, and no more than a call may log."""

import time
from collections.abc import Iterator

import pytest
import structlog.testing
from structlog.typing import EventDict
from wasmtime import WasiConfig

from backends.contract import ExecuteContext, ExecuteRequest, Limits
from backends.embedded.host.call import Call
from backends.embedded.host.guest_log import MAX_LINES_PER_CALL, MAX_MESSAGE_BYTES
from backends.embedded.printing import Printing


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


def a_call(*granted: str) -> Call:
    request = ExecuteRequest(
        request_id="r-1",
        context=ExecuteContext(tenant_id="t", extension_id="e", content_hash="sha256:" + "a" * 64),
        method="GET",
        path="/",
        limits=Limits(timeout_ms=1_000),
        timeout_s=1.0,
    )
    deadline = time.monotonic() + 1
    return Call(request, frozenset(granted), deadline, services=None)  # type: ignore[arg-type]  # none is used


def printed(*chunks: bytes, stream: str = "stderr") -> None:
    printing = Printing(a_call("cap:log.emit"))
    printing.attach(WasiConfig())
    for chunk in chunks:
        printing.take(stream, chunk)
    printing.end()


@pytest.mark.parametrize(("stream", "level"), [("stdout", "info"), ("stderr", "warning")])
def test_a_line_says_whose_it_is(lines: list[EventDict], stream: str, level: str) -> None:
    printed(b"boom\n", stream=stream)
    assert lines == [
        {
            "event": "guest_printed",
            "log_level": level,
            "stream": stream,
            "message": "boom",
            "request_id": "r-1",
            "tenant": "t",
            "extension": "e",
        }
    ]


def test_lines_are_whole_however_they_are_written(lines: list[EventDict]) -> None:
    printed(b"on", b"e\ntwo\r\n", b"\n", "thr\u00fc".encode()[:-1], b"\xbc", b"e")
    assert [line["message"] for line in lines] == ["one", "two", "thr\u00fce"]


def test_a_line_without_end_is_logged_in_parts_and_never_held_whole(
    lines: list[EventDict],
) -> None:
    printed(*[b"x" * 1_000] * 9)
    lengths = [len(line["message"]) for line in lines]
    assert lengths == [MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES, 9_000 - 2 * MAX_MESSAGE_BYTES]


def test_lines_beyond_what_a_call_may_log_are_left_out(lines: list[EventDict]) -> None:
    printed(b"again\n" * (MAX_LINES_PER_CALL + 50))
    events = [line["event"] for line in lines]
    assert events == ["guest_printed"] * MAX_LINES_PER_CALL + ["guest_log_truncated"]


def test_without_the_capability_nothing_is_logged(lines: list[EventDict]) -> None:
    Printing(a_call()).take("stdout", b"boom\n")
    assert lines == []
