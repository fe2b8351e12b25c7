"""Exceptions for failures of a call that no lower layer has a class for."""

from backends.errors import Phase


class NothingAtRoot(Exception):
    """Somebody opened the origin itself, where nothing is; the answer names the console."""

    reason = "not_found"
    advice = "The console is at /gateway/."


class InvalidContentHash(Exception):
    """The address names a bundle by something that is no content hash."""

    reason = "invalid_content_hash"


class EndpointNotDeclared(Exception):
    """The extension's manifest has no endpoint for this path, whatever the method."""

    reason = "endpoint_not_declared"

    def __init__(self, declared: tuple[str, ...] = ()) -> None:
        """`declared` ("GET /visits", ...) is shown to the caller; leave it empty to hide it."""
        super().__init__(self.reason)
        self.members = {"declared": list(declared)} if declared else {}


class MethodNotAllowed(Exception):
    """The path is declared, for other methods. RFC 9110 section 15.5.6 wants `allowed` told."""

    reason = "method_not_allowed"

    def __init__(self, allowed: frozenset[str]) -> None:
        super().__init__(self.reason)
        self.allowed = allowed


class ExtensionFailed(Exception):
    """The runner could not let the guest answer; `reason` is the class of its error."""

    phase = Phase.EXECUTE

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.reason = error


class GuestTimeout(ExtensionFailed):
    """The guest was stopped because its own time ran out."""


class EngineNotStarted(ExtensionFailed):
    """The runner's engine did not start, so the guest did not run; it may the next time."""

    retry_after_s = 1


class IdempotencyKeyReused(ExtensionFailed):
    """The key was used before, for a request with another body."""


def failure_of(error: str) -> ExtensionFailed:
    """The exception for the error class of an envelope.

    >>> failure_of("execute_timeout").__class__.__name__
    'GuestTimeout'
    """
    match error:
        case "execute_timeout":
            return GuestTimeout(error)
        case "engine_init_failed":
            return EngineNotStarted(error)
        case "idempotency_key_reused":
            return IdempotencyKeyReused(error)
        case _:
            return ExtensionFailed(error)
