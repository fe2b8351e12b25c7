"""The port to HTTP/1.1: one exchange with one runner, and the values that cross it.

A transport owns the connections to one address. It keeps the deadlines, classifies what went
wrong and never sends anything twice; whether a second attempt is safe is decided above it.
"""

from dataclasses import dataclass, field, replace
from typing import Final, Protocol, runtime_checkable

from backends.contract import ByteStream, Pairs
from backends.errors import Phase, RunnerProtocolError
from backends.prompt import Callback, Cancel
from backends.upstream.bodies import is_event_stream
from backends.value import value

EVENT_STREAM_IDLE_S: Final = 300.0
"""How long a stream of events may pause, which means no more than that nothing happens."""


@value
class Budget:
    """How long each part of an exchange may take, in seconds; None is without limit.

    Instants are of `time.monotonic()`, so that a second attempt has what the first one left.
    """

    connect_s: float | None
    """To find or open a connection: once for waiting in line, once for dialling."""
    first_byte_s: float | None
    """From sending to the whole head of the answer."""
    idle_s: float | None
    """Between two parts of a body."""
    head_by: float | None = None
    """When the head of the answer must be there, whatever the parts above allow."""
    body_by: float | None = None
    """When the last byte must be there."""

    def of_body(self, headers: Pairs) -> "Budget":
        """This budget, for the body of an answer with this head."""
        if self.idle_s is None or not is_event_stream(headers):
            return self
        return replace(self, idle_s=max(self.idle_s, EVENT_STREAM_IDLE_S))


@value
class UpstreamRequest:
    """One request, spelled as it goes out."""

    method: str
    target: str  # origin-form, RFC 9112 section 3.2.1; sent byte for byte
    headers: Pairs = field(default=(), repr=False)  # credentials are among them
    own: Pairs = field(default=(), repr=False)  # more fields: those that no other request has
    body: bytes | None = field(default=None, repr=False)
    budget: Budget

    @property
    def request_id(self) -> str | None:
        """Of the call that it is sent for; None: for none, as a probe."""
        return next((value for name, value in self.own if name == "x-request-id"), None)


@value
class UpstreamResponse:
    """The head of an answer, and the body on its way.

    Whoever gets one must `body.aclose()` it or read it to its end. The body is the content
    without its framing and with its content coding; it ends only when all of it came.
    """

    status: int
    headers: Pairs = field(repr=False)  # names in lower case
    body: ByteStream = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportStats:
    """What a pool holds now, and what it did since it was opened."""

    in_flight: int
    idle: int
    opened: int
    reused: int
    retries: int = 0


class ConnectionLost(RunnerProtocolError):
    """The connection ended before a single byte of the answer came.

    Args:
        reused: it had served an earlier exchange, so it may have been dying all along.
        sent: some of the request may have left this process.
    """

    def __init__(self, *, reused: bool, sent: bool) -> None:
        super().__init__("connection_lost_before_answer", phase=Phase.FIRST_BYTE)
        self.reused = reused
        self.sent = sent


class Transport(Protocol):
    """Connections to one runner."""

    async def exchange(self, request: UpstreamRequest, /) -> UpstreamResponse:
        """Send one request and return the head of its answer; interim answers are skipped.

        Cancelling this, or giving a body back unread, closes the connection at once.

        Raises:
            RunnerUnreachable: no connection came about, so nothing was sent.
            RunnerOverloaded: every connection is busy and the line is full or too slow.
            RunnerTimeout: a part of the budget ran out; `phase` says which.
            ConnectionLost: see there. Every other fault of the answer is a plain
            RunnerProtocolError.
        """

    def stats(self) -> TransportStats: ...

    async def aclose(self) -> None:
        """Close every connection. Exchanges still running fail with a BackendError."""


@runtime_checkable
class PromptTransport(Transport, Protocol):
    """A transport that can begin an exchange on the spot; see backends.prompt."""

    def begin(self, request: UpstreamRequest, done: Callback[UpstreamResponse], /) -> Cancel | None:
        """Send it over a connection that waits for one; None: there is none, use `exchange`.

        Raises:
            RunnerProtocolError: "unsendable_request".
        """
