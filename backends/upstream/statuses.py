"""What a runner's refusal means: HTTP status -> BackendError."""

import re
from typing import Final

from backends.contract import Pairs
from backends.errors import (
    BackendError,
    Phase,
    RunnerOverloaded,
    RunnerProtocolError,
    RunnerTimeout,
)

_RETRY_AFTER_S: Final = (1, 60)
_SECONDS = re.compile(r"\d{1,9}", re.ASCII)


def refusal(status: int, headers: Pairs) -> BackendError:
    """The failure that a status stands for on every route of the runner protocol."""
    match status:
        case 401 | 403:
            return RunnerProtocolError("runner_refused_credentials", phase=Phase.FIRST_BYTE)
        case 429 | 503:
            return RunnerOverloaded(
                f"runner_said_{status}",
                phase=Phase.FIRST_BYTE,
                retry_after_s=retry_after_s(headers),
            )
        case 504:
            return RunnerTimeout(phase=Phase.FIRST_BYTE)
        case _:
            return RunnerProtocolError(f"unexpected_status_{status}", phase=Phase.FIRST_BYTE)


def retry_after_s(headers: Pairs) -> int:
    """The delay that Retry-After asks for, in whole seconds between 1 and 60.

    A date, or nothing at all, is a second (RFC 9110 section 10.2.3).

    >>> retry_after_s((("retry-after", "7"),)), retry_after_s((("retry-after", "86400"),))
    (7, 60)
    """
    least, most = _RETRY_AFTER_S
    asked = next((value.strip() for name, value in headers if name == "retry-after"), "")
    return max(least, min(int(asked), most)) if _SECONDS.fullmatch(asked) else least
