"""The transport made for this job: HTTP/1.1 on asyncio's protocols, parsed by llhttp.

It does what the transport on aiohttp's session does, which is kept in tests/reference_transport:
the same tests hold both. It exists because a session spends more on one small answer than all
the rest of the gateway together.
"""

import asyncio
import ssl
from functools import partial
from typing import Final

from backends.errors import BackendError, Phase, RunnerUnreachable
from backends.prompt import Callback, Cancel
from backends.upstream.address import RunnerAddress
from backends.upstream.http1_connect import ConnectDeadline
from backends.upstream.http1_dial import Dialler
from backends.upstream.http1_pool import Http1Pool
from backends.upstream.http1_request import RequestWriter
from backends.upstream.transport import (
    PromptTransport,
    TransportStats,
    UpstreamRequest,
    UpstreamResponse,
)

MAX_CONNECTIONS: Final = 256
MAX_WAITING: Final = 256


class Http1Transport:
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
        self._writer = RequestWriter(address.authority)
        self._pool = Http1Pool(
            Dialler(address, server_hostname=server_hostname, tls=tls),
            max_connections=max_connections,
            max_waiting=max_waiting,
        )
        self._closed = False

    async def exchange(self, request: UpstreamRequest, /) -> UpstreamResponse:
        if self._closed:
            raise RunnerUnreachable("backend_closed", phase=Phase.ADMIT)
        head = self._writer.head(request)
        connection = self._pool.take()
        if connection is None:
            connection = await self._pool.wait(ConnectDeadline(request.budget))
        answered: asyncio.Future[UpstreamResponse | BackendError]
        answered = asyncio.get_running_loop().create_future()

        def on_answer(outcome: UpstreamResponse | BackendError) -> None:
            if not answered.done():  # cancelled, and its owner has had no turn to say so
                answered.set_result(outcome)

        connection.begin(request, head, on_answer)
        try:
            outcome = await answered
        except BaseException:
            connection.cancel(on_answer)
            raise
        if isinstance(outcome, BackendError):
            raise outcome from None
        return outcome

    def begin(self, request: UpstreamRequest, done: Callback[UpstreamResponse], /) -> Cancel | None:
        if self._closed:
            return None
        head = self._writer.head(request)
        connection = self._pool.take()
        if connection is None:
            return None
        connection.begin(request, head, done)
        return partial(connection.cancel, done)

    def stats(self) -> TransportStats:
        pool = self._pool
        return TransportStats(
            in_flight=pool.in_flight, idle=pool.idle, opened=pool.opened, reused=pool.reused
        )

    async def aclose(self) -> None:
        self._closed = True
        await self._pool.aclose()


_guard: type[PromptTransport] = Http1Transport
