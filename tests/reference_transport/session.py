"""The transport on aiohttp.ClientSession: the reference that the gateway's own is held to.

It stands behind the same port, is given the same tests and the same bytes, and serves nobody
else. Its parsing was tried by many others, and the rules about connections came first here.

The session is stripped of everything that would speak or decide for itself: no cookies, no
redirects, no decompression, no retry, no environment proxies, no headers of its own.
"""

import io
import re
import ssl
from collections.abc import Awaitable
from typing import Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from backends.errors import (
    BackendError,
    Phase,
    RunnerOverloaded,
    RunnerProtocolError,
    RunnerUnreachable,
)
from backends.upstream.address import RunnerAddress
from backends.upstream.transport import (
    ConnectionLost,
    Transport,
    TransportStats,
    UpstreamRequest,
    UpstreamResponse,
)
from tests.reference_transport.connector import VerifyingConnector
from tests.reference_transport.countdown import Countdown
from tests.reference_transport.failures import malformed_reason, unreachable_reason
from tests.reference_transport.session_body import SessionBody
from tests.reference_transport.session_trace import Attempt, SessionTrace

MAX_CONNECTIONS: Final = 256
MAX_WAITING: Final = 256
KEEPALIVE_S: Final = 15.0
DNS_TTL_S: Final = 10
MAX_HEADER_BYTES: Final = 16 * 1024  # of one field, and of the status line
MAX_HEADER_FIELDS: Final = 128

# aiohttp warns about larger bodies in one piece: writing them would hold up the event loop.
_WHOLE_BODY_BYTES: Final = 1024 * 1024
_TARGET = re.compile(r"/[!\"$-~]*")  # origin-form: visible ASCII without "#"
_KEEPALIVE_TIMEOUT = re.compile(r"timeout\s*=\s*([1-9]\d{0,5})\b", re.IGNORECASE)
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=None, sock_read=None, sock_connect=None)


class SessionTransport:
    """A pool of connections to one runner. Build it inside a running event loop.

    Args:
        address: the only origin that is ever dialled.
        server_hostname: the name that TLS asks for, when it is not the address's own.
        tls: a context with other trust anchors than the system's.
        max_connections: how many exchanges run at once.
        max_waiting: how many more may stand in line for a connection.
    """

    def __init__(
        self,
        address: RunnerAddress,
        *,
        server_hostname: str | None = None,
        tls: ssl.SSLContext | None = None,
        max_connections: int = MAX_CONNECTIONS,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._address = address
        self._server_hostname = server_hostname
        self._max_running = max_connections + max_waiting
        self._running: set[Attempt] = set()
        self._trace = SessionTrace()
        self._closed = False
        self._connector = VerifyingConnector(
            limit=max_connections,
            keepalive_timeout_s=KEEPALIVE_S,
            dns_ttl_s=DNS_TTL_S,
            tls=tls,
        )
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=_NO_TIMEOUT,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADER_FIELDS,
            trace_configs=[self._trace.config],
        )
        # Else the session sends GET, PUT, DELETE... again by itself, uncounted. It has no
        # public switch; a test counts the requests on the wire.
        self._session._retry_connection = False

    async def exchange(self, request: UpstreamRequest, /) -> UpstreamResponse:
        if self._closed:
            raise RunnerUnreachable("backend_closed", phase=Phase.ADMIT)
        if len(self._running) >= self._max_running:
            raise RunnerOverloaded("pool_exhausted")
        if not _TARGET.fullmatch(request.target):
            raise RunnerProtocolError("unsendable_request", phase=Phase.ADMIT)
        attempt = Attempt(Countdown(request.budget))
        self._running.add(attempt)
        try:
            response = await self._send(request, attempt)
        except BaseException:
            self._running.discard(attempt)
            raise
        body = SessionBody(
            response, attempt.countdown, on_end=lambda: self._running.discard(attempt)
        )
        if fault := _framing_fault(response):
            await body.aclose()
            raise RunnerProtocolError(fault, phase=Phase.FIRST_BYTE)
        if announced := _KEEPALIVE_TIMEOUT.search(response.headers.get("Keep-Alive", "")):
            self._connector.expect_idle_limit(float(announced[1]))
        headers = tuple((name.lower(), value) for name, value in response.headers.items())
        attempt.countdown.know(headers)
        return UpstreamResponse(status=response.status, headers=headers, body=body)

    def stats(self) -> TransportStats:
        return TransportStats(
            in_flight=len(self._running),
            idle=self._connector.idle,
            opened=self._trace.opened,
            reused=self._trace.reused,
        )

    async def aclose(self) -> None:
        self._closed = True
        for attempt in self._running:
            attempt.countdown.abort()
        await self._session.close()

    async def _send(self, request: UpstreamRequest, attempt: Attempt) -> aiohttp.ClientResponse:
        def send() -> Awaitable[aiohttp.ClientResponse]:
            return self._session.request(
                request.method,
                URL(self._address.origin + request.target, encoded=True),
                headers=CIMultiDict(request.headers + request.own),
                data=_payload(request.body),
                allow_redirects=False,
                server_hostname=self._server_hostname,
                trace_request_ctx=attempt,
            )

        try:
            return await attempt.countdown.run(Phase.ADMIT, send)
        except (aiohttp.ClientError, OSError, ValueError) as failure:
            # Not chained: aiohttp's messages quote the peer.
            raise _failure(failure, attempt) from None


def _payload(body: bytes | None) -> bytes | io.BytesIO | None:
    return io.BytesIO(body) if body is not None and len(body) > _WHOLE_BODY_BYTES else body


def _framing_fault(response: aiohttp.ClientResponse) -> str | None:
    """RFC 9112 section 7: an unknown transfer coding cannot be taken off, so not passed on."""
    if response.status == 101:
        return "unexpected_status_101"  # nobody asked to switch protocols
    codings = ",".join(response.headers.getall("Transfer-Encoding", ())).lower()
    return None if codings in ("", "chunked", "identity") else "unsupported_transfer_coding"


def _failure(failure: Exception, attempt: Attempt) -> BackendError:
    countdown = attempt.countdown
    if countdown.aborted:
        return countdown.closed()
    match failure:
        case aiohttp.ClientConnectorError():
            return RunnerUnreachable(unreachable_reason(failure))
        case aiohttp.ServerDisconnectedError() if not isinstance(failure.message, str):
            # It holds the part of the head that did come.
            return RunnerProtocolError("truncated_answer", phase=Phase.FIRST_BYTE)
        case aiohttp.ClientResponseError():
            return RunnerProtocolError(malformed_reason(failure), phase=Phase.FIRST_BYTE)
        case aiohttp.ClientConnectionError() | OSError():
            return ConnectionLost(reused=attempt.reused, sent=countdown.sent)
        case _:
            return RunnerProtocolError("unsendable_request", phase=Phase.SEND)


_guard: type[Transport] = SessionTransport
