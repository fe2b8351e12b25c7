"""Log lines: their shape, what is masked in them, and that they never fail their writer."""

import io
import json
import logging
import os
import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog

from gateway.logs.lines import LogFormat, LogLevel, configure_logs

SECRET = "hush-hush-0123456789"


class Captured:
    """A stream that was configured, and the lines in it."""

    def __init__(self, log_format: LogFormat = "json", level: LogLevel = "info") -> None:
        self._stream = io.StringIO()
        self.configure(log_format, level)

    def configure(self, log_format: LogFormat, level: LogLevel) -> None:
        configure_logs(log_format, level, self._stream, secrets=lambda: frozenset({SECRET}))

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


log = structlog.get_logger("module level, made before anything is configured")


def test_a_line_is_one_json_object_with_time_level_and_event_first() -> None:
    captured = Captured()
    log.info("request_answered", status=200, tenant="acme\nline")
    (event,) = captured.events
    assert list(event) == ["ts", "level", "event", "status", "tenant"]
    assert datetime.fromisoformat(event["ts"]).utcoffset() == timedelta()
    assert event["level"] == "info"


def test_library_loggers_end_up_in_the_same_place() -> None:
    captured = Captured()
    logging.getLogger("aiohttp.server").warning("Error handling %s", "request")
    logging.getLogger("asyncio").debug("Using selector")
    (event,) = captured.events
    assert event["level"] == "warning"
    assert event["event"] == "library_logged"
    assert event["logger"] == "aiohttp.server"
    assert event["message"] == "Error handling request"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_configured_secret_is_masked_wherever_it_stands(log_format: LogFormat) -> None:
    captured = Captured(log_format)
    log.info("odd", address=f"http://host/{SECRET}", nested={"list": [SECRET]})
    logging.getLogger("aiohttp.client").error("refused %s", SECRET)
    try:
        int(SECRET)
    except ValueError:
        log.exception("failed")
        logging.getLogger("library").exception("failed too")
    assert captured.text.count("ValueError") >= 2
    assert SECRET not in captured.text


def test_a_traceback_shows_no_local_variables() -> None:
    captured = Captured("console")
    try:
        local = "x" * 8 + "local-value"
        int(local[:1])
    except ValueError:
        log.exception("failed")
    assert "ValueError" in captured.text
    assert "xxxxxxxxlocal-value" not in captured.text


def test_the_level_changes_for_loggers_that_exist() -> None:
    captured = Captured(level="warning")
    bound = log.bind(tenant="acme")
    bound.info("too_quiet")
    logging.getLogger("aiohttp").info("too quiet")
    assert captured.events == []
    captured.configure("json", "debug")
    bound.debug("heard")
    logging.getLogger("aiohttp").debug("heard too")
    assert [event["event"] for event in captured.events] == ["heard", "library_logged"]


def test_configuring_again_moves_every_line_to_the_new_stream_once() -> None:
    first = Captured()
    second = Captured()
    log.info("fact")
    logging.getLogger("aiohttp").info("fact")
    assert first.events == []
    assert len(second.events) == 2


def test_what_a_guest_says_cannot_act_on_the_terminal() -> None:
    captured = Captured("console")
    log.info("guest\x1b[2J", said="one\ntwo\x1b[31m\x9b1m")
    assert captured.text.count("\n") == 1
    assert "\x1b[2J" not in captured.text
    assert "\x1b[31m" not in captured.text
    assert "\x9b" not in captured.text


def test_a_step_that_fails_costs_the_line_and_not_the_request() -> None:
    stream = io.StringIO()

    def broken() -> frozenset[str]:
        raise RuntimeError(SECRET)

    configure_logs("json", "info", stream, secrets=broken)
    log.info("request_answered", token=SECRET)
    event = json.loads(stream.getvalue())
    assert (event["event"], event["error"]) == ("log_line_lost", "RuntimeError")
    assert SECRET not in stream.getvalue()


def test_a_library_that_formats_its_record_wrongly_is_still_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # pytest's own handler would raise where ours must not.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    captured = Captured()
    logging.getLogger("library").error("%s of %s", "one")
    assert captured.events[0]["message"] == "%s of %s"


@pytest.mark.parametrize(
    "value", ["\udcff", b"\xff", float("nan"), {1: {2: object()}}, 1 << 80, ValueError("why")]
)
def test_any_value_can_be_logged(value: object) -> None:
    captured = Captured()
    log.info("fact", value=value)
    assert captured.events[0]["event"] == "fact"


def test_nobody_reading_any_more_is_survived() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w", buffering=1)
    configure_logs("json", "info", stream)
    log.info("fact")
    logging.getLogger("library").error("fact")
    with pytest.raises(BrokenPipeError):
        stream.close()  # it was broken indeed
    log.info("fact", after="close")


def test_lines_of_many_threads_stay_whole() -> None:
    captured = Captured()
    started = threading.Barrier(4)

    def write() -> None:
        started.wait(5)
        for number in range(100):
            log.info("fact", number=number, padding="x" * 500)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(captured.events) == 400
