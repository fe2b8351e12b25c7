"""A guest's lines in this program's log: logging.log-*, and what it prints."""

import re
from collections.abc import Callable

import structlog

from backends.embedded.host.call import Call
from backends.embedded.host.never_waits import answers_at_once

CAPABILITY = "cap:log.emit"
MAX_MESSAGE_BYTES = 4096
MAX_LINES_PER_CALL = 200

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")

_log = structlog.get_logger(__name__)


@answers_at_once
def log_info(call: Call, message: str) -> None:
    """Write one line at level info; ignored without the capability or past the bound."""
    _emit(call, _log.info, message)


@answers_at_once
def log_warn(call: Call, message: str) -> None:
    """Write one line at level warning; otherwise as log_info."""
    _emit(call, _log.warning, message)


@answers_at_once
def log_error(call: Call, message: str) -> None:
    """Write one line at level error; otherwise as log_info."""
    _emit(call, _log.error, message)


def printed(call: Call, stream: str, line: str) -> None:
    """Write a line that the guest printed to `stream` ("stdout", "stderr"), bounded as log_info."""
    if call.may(CAPABILITY):
        write = _log.warning if stream == "stderr" else _log.info
        _write(call, write, "guest_printed", stream=stream, message=_printable(line))


def host_function_failed(call: Call, function: str, error: str) -> None:
    """Write that an import could not answer; one of the call's lines, for a guest can cause it.

    Args:
        error: of a closed set, as names of classes are: a message or a trace could hold a guest's
            data.
    """
    _write(call, _log.error, "host_function_failed", function=function, error=error)


def _emit(call: Call, write: Callable[..., object], message: str) -> None:
    if call.may(CAPABILITY):
        _write(call, write, "guest_logged", message=_printable(message))


def _write(call: Call, write: Callable[..., object], event: str, **said: str) -> None:
    facts = {
        "request_id": call.request.request_id,
        "tenant": call.request.context.tenant_id,
        "extension": call.request.context.extension_id,
    }
    already_written = next(call.lines_logged)
    if already_written < MAX_LINES_PER_CALL:
        write(event, **said, **facts)
    elif already_written == MAX_LINES_PER_CALL:
        _log.warning("guest_log_truncated", max_lines=MAX_LINES_PER_CALL, **facts)


def _printable(message: str) -> str:
    """At most MAX_MESSAGE_BYTES of `message`, whole characters, unable to steer a terminal."""
    # Cut first, so that escaping works on a bounded text.
    kept = message[:MAX_MESSAGE_BYTES].encode()[:MAX_MESSAGE_BYTES].decode(errors="ignore")
    return _CONTROL.sub(lambda sign: f"\\u{ord(sign.group()):04x}", kept)
