"""Why a backend could not answer: whose fault, in which phase, and whether a retry is safe.

A class exists only where somebody decides differently because of it. Facts ride as
attributes; no message ever holds a runner's text, a header value or a body.
"""

from enum import StrEnum
from typing import ClassVar


class Phase(StrEnum):
    """Where in the life of a call it went wrong."""

    ADMIT = "admit"  # before anything was tried: a full queue, a closed backend
    CONNECT = "connect"
    SEND = "send"
    FIRST_BYTE = "first_byte"
    BODY = "body"
    IDLE = "idle"
    TOTAL = "total"
    EXECUTE = "execute"  # inside the guest


class BackendError(Exception):
    """The runner did not do its part.

    Args:
        reason: one machine word for logs and metrics, such as "connection_refused".
        phase: where it happened.
    """

    safe_to_retry: ClassVar[bool] = False
    """True only when nothing of the call can have been processed."""

    def __init__(self, reason: str, *, phase: Phase) -> None:
        super().__init__(f"{reason} ({phase})")
        self.reason = reason
        self.phase = phase


class RunnerUnreachable(BackendError):
    """Nothing was sent, so the extension did not run."""

    safe_to_retry = True

    def __init__(
        self, reason: str, *, phase: Phase = Phase.CONNECT, retry_after_s: int = 1
    ) -> None:
        super().__init__(reason, phase=phase)
        self.retry_after_s = retry_after_s


class RunnerNotConfigured(BackendError):
    """Nothing says where a runner is, and none can be found: calls wait for an operator.

    `advice` is one sentence about the way out, which callers may read.
    """

    safe_to_retry = True

    def __init__(self, reason: str, *, advice: str) -> None:
        super().__init__(reason, phase=Phase.ADMIT)
        self.advice = advice


class RunnerOverloaded(BackendError):
    """The runner, or a bound of this program in front of it, refused the call unprocessed."""

    safe_to_retry = True

    def __init__(self, reason: str, *, phase: Phase = Phase.ADMIT, retry_after_s: int = 1) -> None:
        super().__init__(reason, phase=phase)
        self.retry_after_s = retry_after_s


class RunnerTimeout(BackendError):
    """A budget ran out; `phase` names which."""

    def __init__(self, *, phase: Phase, budget_s: float | None = None) -> None:
        super().__init__(f"{phase}_timeout", phase=phase)
        self.budget_s = budget_s


class RunnerProtocolError(BackendError):
    """The runner answered something that is not the protocol, or broke off."""


class RunnerRefusedSize(BackendError):
    """A body, or the file asked for, is larger than the runner's limit (HTTP 413)."""


class CallRefused(BackendError):
    """What the caller wrote cannot be passed on; nothing was sent."""


class AssetNotFound(BackendError):
    """The bundle has no such file."""

    def __init__(self, reason: str = "no_such_file", *, phase: Phase = Phase.FIRST_BYTE) -> None:
        super().__init__(reason, phase=phase)


class AssetPathRefused(BackendError):
    """The path breaks the rules of backends.asset_path, or the runner says so (HTTP 400)."""

    def __init__(self, reason: str = "path_refused", *, phase: Phase = Phase.ADMIT) -> None:
        super().__init__(reason, phase=phase)
