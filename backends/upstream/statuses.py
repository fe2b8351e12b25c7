"""What a runner's refusal means: HTTP status -> BackendError."""

import re
from typing import Final

import orjson

from backends.contract import Pairs
from backends.envelope.result import UNKNOWN_ERROR, error_class
from backends.errors import (
    BackendError,
    Phase,
    RunnerOverloaded,
    RunnerProtocolError,
    RunnerRefusedSize,
    RunnerTimeout,
)

_RETRY_AFTER_S: Final = (1, 60)
_CAUSES: Final = ("code", "reason", "error")
_SECONDS = re.compile(r"\d{1,9}", re.ASCII)


def refusal(status: int, headers: Pairs, body: bytes = b"") -> BackendError:
    """The failure that a status stands for on every route of the runner protocol.

    Args:
        body: asked for the cause where the status has no meaning of its own.
    """
    match status:
        case 401 | 403:
            return RunnerProtocolError("runner_refused_credentials", phase=Phase.FIRST_BYTE)
        case 413:
            return RunnerRefusedSize("runner_said_413", phase=Phase.FIRST_BYTE)
        case 429 | 503:
            return RunnerOverloaded(
                f"runner_said_{status}",
                phase=Phase.FIRST_BYTE,
                retry_after_s=retry_after_s(headers),
            )
        case 504:
            return RunnerTimeout(phase=Phase.FIRST_BYTE)
        case _:
            reason = named_cause(body) or f"unexpected_status_{status}"
            return RunnerProtocolError(reason, phase=Phase.FIRST_BYTE)


def named_cause(body: bytes) -> str | None:
    """The class of the failure that a runner's JSON names: a machine word, none of its text.

    The reference runner says it in `code`; this program's own says it in `reason`, beside an
    `error` that tells less.

    >>> named_cause(b'{"code": "archive_hash_mismatch"}')
    'archive_hash_mismatch'
    >>> named_cause(b'{"error": "No such bucket"}'), named_cause(b"extract_failed")
    (None, None)
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict):
        return None
    words = (error_class(document.get(name)) for name in _CAUSES)
    return next((word for word in words if word != UNKNOWN_ERROR), None)


def retry_after_s(headers: Pairs) -> int:
    """The delay that Retry-After asks for, in whole seconds between 1 and 60.

    A date, or nothing at all, is a second (RFC 9110 section 10.2.3).

    >>> retry_after_s((("retry-after", "7"),)), retry_after_s((("retry-after", "86400"),))
    (7, 60)
    """
    least, most = _RETRY_AFTER_S
    asked = next((value.strip() for name, value in headers if name == "retry-after"), "")
    return max(least, min(int(asked), most)) if _SECONDS.fullmatch(asked) else least
