"""Log lines: one event each, redacted, on standard error, and never a reason to fail.

structlog and the standard library's loggers (aiohttp's, asyncio's) go through the same steps.
Whatever goes wrong in there, an unserialisable value or a reader that hung up, costs the line
and not the request that wrote it.
"""

import logging
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Final, Literal, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from gateway.logs.tap import TAP
from middleware.redaction import Redactor

LogFormat = Literal["json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
# Line breaks and escape sequences in a guest's words must not act on an operator's terminal.
_CONTROL: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}

_CONTROL_IN_TEXT: Final = {code: name for code, name in _CONTROL.items() if code != ord("\n")}


class _Threshold:
    """The level below which events are dropped; changed by a reload while loggers exist."""

    def __init__(self) -> None:
        self.level = logging.INFO

    def __call__(self, _: WrappedLogger, method: str, event: EventDict) -> EventDict:
        if _LEVELS.get(method, logging.ERROR) < self.level:
            raise structlog.DropEvent
        return event


_threshold = _Threshold()


def configure_logs(
    log_format: LogFormat,
    level: LogLevel,
    stream: TextIO | None = None,
    *,
    secrets: Callable[[], frozenset[str]] = frozenset,
    write: Callable[[str], None] | None = None,
    always: Mapping[str, object] | None = None,
) -> None:
    """Send every log line of this process to `stream`. May be called again, after a reload.

    Args:
        log_format: "json" is one object a line; "console" is for eyes.
        level: the least severe level that is written.
        stream: standard error when None.
        secrets: asked for each line: values to mask wherever they stand.
        write: takes each line without its line break, instead of `stream`; must not raise.
        always: fields of every line that does not have them itself.
    """
    stream = stream or sys.stderr
    steps: tuple[Processor, ...] = (
        _with_fields(always or {}),
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        Redactor(secrets),  # leaves text, numbers, lists and dicts: what renderers can write
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
    )
    render = _Json() if log_format == "json" else _Console(colors=stream.isatty())
    structlog.configure(
        processors=[_threshold, _Guarded(steps, render)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=_Lines(write or _writing_to(stream)),
        cache_logger_on_first_use=False,  # module-level loggers follow a second call
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(_Bridge())
    root.setLevel(_LEVELS[level])
    _threshold.level = _LEVELS[level]  # of loggers that exist already, too


def _with_fields(fields: Mapping[str, object]) -> Processor:
    def add(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {**fields, **event}

    return add


def is_written(level: str) -> bool:
    """Whether lines of this level are written at present."""
    return _LEVELS[level] >= _threshold.level


class _Guarded:
    """Runs the steps; when one fails, says that instead of raising into the caller."""

    def __init__(self, steps: tuple[Processor, ...], render: Callable[[EventDict], str]) -> None:
        self._steps = steps
        self._render = render

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        try:
            for step in self._steps:
                event = step(logger, method, event)  # type: ignore[assignment]  # steps keep dicts
            return self._render(event)
        except Exception as failure:  # noqa: BLE001  a log line must never fail a request
            # The event is not repeated: it failed before, or while, secrets were masked.
            return self._render(
                {"level": "error", "event": "log_line_lost", "error": type(failure).__name__}
            )


class _Json:
    def __call__(self, event: EventDict) -> str:
        first = {key: event.pop(key) for key in ("ts", "level", "event") if key in event}
        line = orjson.dumps({**first, **event}).decode()
        TAP.publish(line)
        return line


class _Console:
    def __init__(self, *, colors: bool) -> None:
        self._render = structlog.dev.ConsoleRenderer(
            colors=colors,
            timestamp_key="ts",
            # The default one prints local variables, and with them whatever they hold.
            exception_formatter=structlog.dev.plain_traceback,
        )

    def __call__(self, event: EventDict) -> str:
        TAP.publish(orjson.dumps(event).decode())
        printable = {
            key: value.translate(_CONTROL if key != "exception" else _CONTROL_IN_TEXT)
            if isinstance(value, str)
            else value
            for key, value in event.items()
        }
        return str(self._render(None, "", printable))


class _Lines:
    """A factory of loggers that hand every line to `write`."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = write
        self.exception = self.msg = write

    def __call__(self, *_: object) -> "_Lines":
        return self


def _writing_to(stream: TextIO) -> Callable[[str], None]:
    """Write whole lines to `stream`, one at a time, from any thread."""
    lock = threading.Lock()

    def write(line: str) -> None:
        try:
            with lock:
                stream.write(line + "\n")
                stream.flush()
        except (OSError, ValueError):
            # Nobody reads any more, the disk is full or the stream is closed: there is no
            # place left to say so, and serving goes on.
            return

    return write


class _Bridge(logging.Handler):
    """Hands the standard library's records to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        level = logging.getLevelName(record.levelno).lower()
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001  arguments that do not fit their template
            message = str(record.msg)
        log = structlog.get_logger()
        write = getattr(log, level if level in _LEVELS else "error")
        write("library_logged", logger=record.name, message=message, exc_info=record.exc_info)
