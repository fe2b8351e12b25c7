"""What every backend promises: the port, and the values that cross it.

Standard library only, and no event loop: everything here is a value or a promise.
"""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from itertools import accumulate
from typing import Any, Protocol

from backends.value import value

Pairs = tuple[tuple[str, str], ...]
"""(name, value) pairs in wire order, repeats kept: a dict would lose a Set-Cookie."""


WITHOUT_CONTENT = frozenset({204, 205, 304})
"""Statuses of a guest's answers that have none (RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5)."""

# Ids end up in paths and object keys, so a name of dots alone is none.
_IDENTIFIER = re.compile(r"(?!\.+$)[A-Za-z0-9._-]{1,128}", re.ASCII)

REQUEST_ID_FORM = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
"""What a request may be called: harmless in a log line, and in a field of its own."""


def is_identifier(value: str) -> bool:
    """Whether `value` may be a tenant or extension id.

    >>> is_identifier("tenant-1"), is_identifier("../etc")
    (True, False)
    """
    return _IDENTIFIER.fullmatch(value) is not None


class BackendKind(StrEnum):
    """The word an operator writes into RUNNER_BACKEND and reads in every log line."""

    KNATIVE = "knative"
    DOCKER = "docker"
    EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendIdentity:
    """Who answers, in words that may be shown to anyone: no credentials, no tenant."""

    kind: BackendKind
    name: str  # the origin that is dialled, or "in-process"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """The person behind a call, as the guest may read it with cap:user.read."""

    user_id: str
    user_email: str
    user_name: str
    user_type: str
    client_name: str = ""
    client_id: str | None = None
    additional_fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretEnvelope:
    """An install's secrets, still sealed. Never printed: repr shows the algorithm alone."""

    ciphertext_b64: str = field(repr=False)
    algorithm: str | None = None
    key_path: str | None = field(default=None, repr=False)
    mount: str | None = field(default=None, repr=False)
    version: str | None = None
    expires_at: str | None = None  # RFC 3339


@value
class ExecuteContext:
    """Which bundle runs, and as whom."""

    tenant_id: str
    extension_id: str  # the registry's id, never a slug
    content_hash: str  # "sha256:" and 64 lower-case hex digits
    install_id: str | None = None
    version_id: str | None = None
    config: Mapping[str, str] = field(default_factory=dict, repr=False)
    config_version: str | None = None
    secrets_version: str | None = None


@value
class Limits:
    """What the guest may use. timeout_ms is always sent: a runner without it traps at once."""

    timeout_ms: int
    memory_mb: int | None = None
    fuel: int | None = None


@value
class ExecuteRequest:
    """One call of an extension's handler."""

    request_id: str
    context: ExecuteContext
    method: str  # upper case; the effective method
    path: str  # decoded, begins with "/"
    query: Pairs = ()
    headers: Pairs = ()  # what the guest may see; names in lower case
    body: bytes | None = field(default=None, repr=False)  # None: none came; b"": an empty one
    limits: Limits
    timeout_s: float  # the whole budget of the call, connecting included
    providers: tuple[str, ...] = ()  # capabilities granted to this install
    user: User | None = None
    secret_envelope: SecretEnvelope | None = None
    idempotency_key: str | None = None
    service_token: str | None = field(default=None, repr=False)
    said: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)
    """The envelope of a caller that wrote one, as it goes on but for its id and its body.

    What this program does not know of it passes.
    """


@value
class ExecuteResult:
    """What the guest answered, or the class of the runner's failure to let it answer."""

    status: int
    headers: Pairs = ()
    body: bytes | None = field(default=None, repr=False)
    error: str | None = None  # a class such as "execute_failed"; never the runner's detail
    queued_ms: float | None = None  # how long it waited for its turn or a start; None: it did not


@value
class AssetRequest:
    """One UI file of one bundle."""

    request_id: str
    method: str  # GET or HEAD
    extension_id: str
    content_hash: str
    path: str  # percent-encoded, as the client wrote it, without a leading slash
    query: str = ""  # raw, without "?"
    tenant_id: str | None = None
    headers: Pairs = ()  # the conditional and range fields, accept-*; names in lower case
    timeout_s: float  # until the first byte; afterwards the idle limit rules
    service_token: str | None = field(default=None, repr=False)


class ByteStream(Protocol):
    """A body on its way. Ends only when all of it came; else raises a BackendError."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    async def aclose(self) -> None:
        """Give the connection or file back. Safe to call twice, at any point."""


@value
class AssetResponse:
    """An answer to pass on: 200, 206, 304, 416, or a redirect (301 302 303 307 308).

    Everything else a backend raises: a missing file as AssetNotFound, and so on.
    """

    status: int
    headers: Pairs = ()  # names in lower case, already through the header policy
    body: bytes | ByteStream = field(default=b"", repr=False)
    queued_ms: float | None = None  # as in ExecuteResult


class Readiness(Enum):
    READY = "ready"
    DOWN = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendHealth:
    """The outcome of one probe. `detail` is this program's own words, never a runner's."""

    readiness: Readiness
    detail: str = ""
    latency_ms: float = 0.0
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Durations counted by bucket.

    Attributes:
        bounds_s: the upper bound of each bucket, ascending.
        counts: one for each bucket, not cumulative; a last one beyond every bound.
    """

    bounds_s: tuple[float, ...]
    counts: tuple[int, ...]
    total_s: float

    @property
    def count(self) -> int:
        """How many durations were counted."""
        return sum(self.counts)

    def cumulative(self) -> list[tuple[str, float]]:
        """Upper bound and count so far, as Prometheus wants them.

        >>> Histogram(bounds_s=(0.5, 1.0), counts=(2, 0, 1), total_s=9.0).cumulative()
        [('0.5', 2.0), ('1.0', 2.0), ('+Inf', 3.0)]
        """
        bounds = (*map(str, self.bounds_s), "+Inf")
        return list(zip(bounds, map(float, accumulate(self.counts)), strict=True))

    def __add__(self, other: "Histogram") -> "Histogram":
        """Both together; their bounds are the same."""
        counts = tuple(map(sum, zip(self.counts, other.counts, strict=True)))
        return replace(self, counts=counts, total_s=self.total_s + other.total_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendStats:
    """What a backend holds and did since it was opened; read at every scrape."""

    connections_in_use: int = 0
    connections_idle: int = 0
    retries: int = 0  # requests that were sent a second time
    cold_starts: Histogram | None = None  # how long calls waited for one; None: they never do

    def __add__(self, other: "BackendStats") -> "BackendStats":
        """Both together."""
        mine, others = self.cold_starts, other.cold_starts
        return BackendStats(
            connections_in_use=self.connections_in_use + other.connections_in_use,
            connections_idle=self.connections_idle + other.connections_idle,
            retries=self.retries + other.retries,
            cold_starts=mine + others if mine and others else mine or others,
        )


class RunnerBackend(Protocol):
    """Reaches one runner. Raises only backends.errors.BackendError (and CancelledError).

    Backends differ in address, identity, credentials, readiness and cold start, never in
    what the caller sees: one conformance suite runs against all of them.
    """

    @property
    def identity(self) -> BackendIdentity: ...

    async def execute(self, request: ExecuteRequest, /) -> ExecuteResult:
        """Run the handler; the whole call within request.timeout_s."""

    async def fetch_asset(self, request: AssetRequest, /) -> AssetResponse:
        """Fetch one UI file. Whoever gets a ByteStream must aclose() it."""

    def resolve_ui_url(
        self,
        extension_id: str,
        content_hash: str,
        client_path: str = "/",
        *,
        tenant_id: str | None = None,
    ) -> str:
        """Where a browser finds the extension's page. Raises ValueError on a malformed hash."""

    async def health(self) -> BackendHealth:
        """Ask the runner once, within a deadline of its own. Never raises."""

    async def metadata(self) -> Mapping[str, object]:
        """What an operator wants to see: address chosen and why. No secrets, no tenants."""

    def stats(self) -> BackendStats:
        """Counters and gauges, without waiting for anything."""

    async def warm(self, content_hash: str, /) -> None:
        """Make the next call of this bundle cheap, if the backend knows how. Never raises."""

    def page_fetched(self, page: AssetRequest, /) -> None:
        """An extension's page was answered, so its handler is called next: get ready for that.

        Whatever it takes happens beside the traffic; this neither waits nor raises. Most
        backends have nothing to do.
        """

    async def aclose(self) -> None:
        """Release everything; safe to call twice. Calls still running fail with a BackendError."""
