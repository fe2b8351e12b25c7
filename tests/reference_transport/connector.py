"""A connection pool that hands out no connection it has reason to doubt.

aiohttp gives back a kept-alive connection after looking only at its age. Bytes that came while
it was idle would then be read as the answer to whoever sends next: behind an ingress that all
extensions share, one of them could answer for another. And a peer's goodbye that is still in
the socket's buffer turns the next call into a failure nobody can repeat safely.
"""

import functools
import select
import ssl
from typing import cast

from aiohttp import TCPConnector
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from tests.reference_transport.response_handler import StrictResponseHandler


class VerifyingConnector(TCPConnector):
    """A TCPConnector that looks at the socket before reuse, and aborts instead of closing.

    Args:
        limit: how many connections there may be.
        keepalive_timeout_s: how long one is kept without being used.
        dns_ttl_s: how long an address is believed.
        tls: trust anchors, when they are not the system's.
    """

    def __init__(
        self,
        *,
        limit: int,
        keepalive_timeout_s: float,
        dns_ttl_s: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(
            limit=limit,
            keepalive_timeout=keepalive_timeout_s,
            ttl_dns_cache=dns_ttl_s,
            ssl=True if tls is None else tls,
        )
        self._factory = cast(
            "functools.partial[ResponseHandler]",
            functools.partial(StrictResponseHandler, loop=self._loop),
        )

    @property
    def idle(self) -> int:
        """How many connections wait to be used again."""
        return sum(protocol.is_connected() for kept in self._conns.values() for protocol, _ in kept)

    def expect_idle_limit(self, seconds: float) -> None:
        """Keep connections for less than the `seconds` that the runner announces for its own.

        The shortest announcement counts for the whole pool, which has one runner behind it.
        """
        kept_s = max(seconds - 1.0, seconds / 2)
        if self._keepalive_timeout is None or kept_s < self._keepalive_timeout:
            self._keepalive_timeout = kept_s

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        while (connection := await super()._get(key, traces)) is not None:
            protocol = cast(StrictResponseHandler, connection.protocol)  # _factory makes no other
            if _is_quiet(protocol):
                protocol.idle = False
                return connection
            connection.close()
        return None

    def _release(
        self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False
    ) -> None:
        if should_close or protocol.should_close:
            # close() would first flush what the peer has not read yet, for as long as it likes.
            protocol.abort()
        else:
            cast(StrictResponseHandler, protocol).idle = True
        super()._release(key, protocol, should_close=should_close)


def _is_quiet(protocol: ResponseHandler) -> bool:
    """Nothing came since the last answer ended: neither bytes nor an end of stream."""
    transport = protocol.transport
    if transport is None or transport.is_closing() or protocol.should_close:
        return False
    sock = transport.get_extra_info("socket")
    waiting = select.poll()
    waiting.register(sock.fileno(), select.POLLIN)  # hang-up and error are always reported
    return not waiting.poll(0)
