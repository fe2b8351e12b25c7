"""Why a request is refused before a backend hears of it.

A middleware raises a reason and builds no answer: which status and which words a reason
gets is decided in one table elsewhere. A class exists only where that table has a row.
No message holds anything the client sent.
"""


class Refusal(Exception):
    """The request goes no further.

    Args:
        reason: one machine word for logs and answers, such as "missing_tenant".
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class InvalidRequest(Refusal):
    """The request breaks HTTP or the rules of this door.

    `field` names the offending header or member, where there is one to name.
    """

    def __init__(self, reason: str, *, field: str | None = None) -> None:
        super().__init__(reason)
        self.field = field


class InvalidPath(Refusal):
    """Two readers of this path could understand two different resources."""


class Unauthenticated(Refusal):
    """Nobody knows who calls.

    `challenge` is the value of the WWW-Authenticate field that a 401 must carry
    (RFC 9110 section 11.6.1).
    """

    def __init__(self, reason: str, *, challenge: str) -> None:
        super().__init__(reason)
        self.challenge = challenge


class IdentityUnavailable(Refusal):
    """Whether the caller is who it says cannot be known right now; nothing was done."""

    def __init__(self, retry_after_s: int, reason: str) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Forbidden(Refusal):
    """The caller may not do this, whoever it is."""


class TenantMismatch(Forbidden):
    """The caller belongs to one tenant and names another."""

    def __init__(self, reason: str = "tenant_mismatch") -> None:
        super().__init__(reason)


class PayloadTooLarge(Refusal):
    """The body is longer than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__("payload_too_large")
        self.limit = limit


class RequestTimeout(Refusal):
    """The client stopped sending its body."""

    def __init__(self, reason: str = "request_body_idle") -> None:
        super().__init__(reason)


class Overloaded(Refusal):
    """Too much is running already; nothing was done."""

    def __init__(self, retry_after_s: int, reason: str = "too_many_requests_in_flight") -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class RateLimited(Refusal):
    """This caller asked too often; nothing was done."""

    def __init__(self, retry_after_s: int, reason: str = "rate_limited") -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
