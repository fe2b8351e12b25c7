"""A guest's lines: attributed, bounded, harmless."""

from collections.abc import Iterator

import pytest
import structlog.testing
from structlog.typing import EventDict

from backends.embedded.host.guest_log import MAX_LINES_PER_CALL, MAX_MESSAGE_BYTES
from backends.embedded.host.services import HostServices
from tests.backends.embedded.host.calls import ask, call_of


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


async def test_a_line_says_who_spoke_at_which_level(
    services: HostServices, lines: list[EventDict]
) -> None:
    for function in ("log-info", "log-warn", "log-error"):
        await ask(call_of(services), "logging", function, "hello")
    assert [line.pop("log_level") for line in lines] == ["info", "warning", "error"]
    assert lines == 3 * [
        {
            "event": "guest_logged",
            "request_id": "request-1",
            "tenant": "tenant-1",
            "extension": "extension-1",
            "message": "hello",
        }
    ]


async def test_a_long_line_is_cut_between_characters(
    services: HostServices, lines: list[EventDict]
) -> None:
    await ask(call_of(services), "logging", "log-info", "xx" + "\u20ac" * MAX_MESSAGE_BYTES)
    assert lines[0]["message"] == "xx" + "\u20ac" * ((MAX_MESSAGE_BYTES - 2) // 3)


async def test_a_line_cannot_steer_a_terminal_or_forge_another_line(
    services: HostServices, lines: list[EventDict]
) -> None:
    await ask(call_of(services), "logging", "log-info", "a\x1b[2J\r\n\tb\x9b\u2028")
    assert lines[0]["message"] == "a\\u001b[2J\\u000d\\u000a\tb\\u009b\\u2028"


async def test_a_talkative_call_is_cut_off_once_and_the_next_one_starts_afresh(
    services: HostServices, lines: list[EventDict]
) -> None:
    call = call_of(services)
    for _ in range(MAX_LINES_PER_CALL + 5):
        await ask(call, "logging", "log-info", "again")
    events = [line["event"] for line in lines]
    assert events == ["guest_logged"] * MAX_LINES_PER_CALL + ["guest_log_truncated"]

    await ask(call_of(services), "logging", "log-info", "first")
    assert lines[-1]["message"] == "first"


async def test_failures_that_a_guest_can_cause_at_will_are_among_its_lines(
    services: HostServices, lines: list[EventDict]
) -> None:
    call = call_of(services, granted=frozenset())
    for _ in range(MAX_LINES_PER_CALL + 5):
        await ask(call, "secrets", "get", "one", "too many")
    events = [line["event"] for line in lines]
    assert events == ["host_function_failed"] * MAX_LINES_PER_CALL + ["guest_log_truncated"]
    assert {(line["tenant"], line["extension"]) for line in lines} == {("tenant-1", "extension-1")}


async def test_without_the_capability_nothing_is_written(
    services: HostServices, lines: list[EventDict]
) -> None:
    await ask(call_of(services, granted=frozenset()), "logging", "log-error", "hello")
    assert lines == []
