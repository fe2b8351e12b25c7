"""Which connection an exchange gets: one that waits, a new one, or a place in line."""

import asyncio
import time
from collections import deque
from contextlib import suppress
from typing import Final

from backends.errors import Phase, RunnerOverloaded
from backends.upstream.http1_connect import ConnectDeadline
from backends.upstream.http1_dial import Dialler
from backends.upstream.http1_protocol import Http1Connection

KEEPALIVE_S: Final = 15.0
_CLOSING_S: Final = 1.0


class Http1Pool:
    """Connections to one address, at most `max_connections` of them at work.

    The one that came back last goes out first: the others get a chance to grow old.

    Attributes:
        opened: connections that came about.
        reused: exchanges over a connection that had served another.
    """

    def __init__(self, dialler: Dialler, *, max_connections: int, max_waiting: int) -> None:
        self._dialler = dialler
        self._max_connections = max_connections
        self._max_waiting = max_waiting
        self._keepalive_s = KEEPALIVE_S
        self._connections: set[Http1Connection] = set()  # all whose socket is not gone
        self._idle: list[Http1Connection] = []
        self._at_work = 0  # dialling or exchanging
        self._line: deque[asyncio.Future[Http1Connection | None]] = deque()
        self._arriving: set[ConnectDeadline] = set()  # in line or dialling
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False
        self._all_gone = asyncio.Event()
        self.opened = 0
        self.reused = 0

    @property
    def in_flight(self) -> int:
        """Exchanges that were begun or wait to be."""
        return self._at_work + len(self._line)

    @property
    def idle(self) -> int:
        """Connections that wait to be used again."""
        return len(self._idle)

    def take(self) -> Http1Connection | None:
        """A connection that waits, if there is one beyond doubt."""
        while self._idle:
            connection = self._idle.pop()
            fresh = time.monotonic() - connection.idle_since < self._keepalive_s
            if fresh and connection.is_quiet():
                self._at_work += 1
                self.reused += 1
                return connection
            connection.close()
        return None

    async def wait(self, deadline: ConnectDeadline) -> Http1Connection:
        """A connection when there was none to take: whichever comes free, or a new one.

        Raises:
            RunnerOverloaded: the line is full or too slow.
            RunnerTimeout: dialling took too long.
            RunnerUnreachable: no connection came about.
        """
        self._arriving.add(deadline)
        try:
            if self._at_work < self._max_connections:
                self._at_work += 1
            elif (connection := await self._stand_in_line(deadline)) is not None:
                return connection
            return await self._dial(deadline)
        finally:
            self._arriving.discard(deadline)

    async def aclose(self) -> None:
        """Fail what runs, close every connection, and see them gone."""
        self._closed = True
        for deadline in self._arriving:
            deadline.abort()
        self._idle.clear()
        self._sweep_later()
        for connection in tuple(self._connections):
            connection.close()
        if self._connections:
            self._all_gone.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSING_S):
                    await self._all_gone.wait()

    # What connections report.

    def made(self, connection: Http1Connection) -> None:
        """Its socket is open; the handshake, if any, is done."""
        self._connections.add(connection)
        self.opened += 1
        if self._closed:  # while it was dialled
            connection.close()

    def free(self, connection: Http1Connection, *, reusable: bool) -> None:
        """An exchange is over: its place goes to whoever is first in line."""
        self._pass_on(connection if reusable else None)

    def lost(self, connection: Http1Connection) -> None:
        """Its socket is gone."""
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if not self._connections:
            self._all_gone.set()

    def expect_idle_limit(self, seconds: float) -> None:
        """Keep connections for less than the `seconds` that the runner announces for its own.

        The shortest announcement counts for the whole pool, which has one runner behind it.
        """
        limit_s = max(seconds - 1.0, seconds / 2)
        if limit_s < self._keepalive_s:
            self._keepalive_s = limit_s
            self._sweep_later()

    async def _stand_in_line(self, deadline: ConnectDeadline) -> Http1Connection | None:
        """The connection that came free; None: only its place did."""
        if len(self._line) >= self._max_waiting:
            raise RunnerOverloaded("pool_exhausted")
        place: asyncio.Future[Http1Connection | None] = asyncio.get_running_loop().create_future()
        self._line.append(place)
        try:
            connection = await deadline.run(Phase.ADMIT, lambda: place)
        except BaseException:
            if place.done() and not place.cancelled():
                self._pass_on(_unless_doubtful(place.result()))
            elif place in self._line:
                self._line.remove(place)
            raise
        if _unless_doubtful(connection) is not None:
            self.reused += 1
            return connection
        return None

    async def _dial(self, deadline: ConnectDeadline) -> Http1Connection:
        connection = Http1Connection(self)
        try:
            await deadline.run(Phase.CONNECT, lambda: self._dialler.dial(lambda: connection))
        except BaseException:
            # It may have been made, and uvloop takes it away then without a word to it.
            self.lost(connection)
            self._pass_on(None)
            raise
        return connection

    def _pass_on(self, connection: Http1Connection | None) -> None:
        """Give a place at work, and the connection that held it, to the first in line."""
        while self._line:
            place = self._line.popleft()
            if not place.done():
                place.set_result(connection)
                return
        self._at_work -= 1
        if connection is not None:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
            if self._sweep is None:
                self._sweep_later()

    def _sweep_later(self) -> None:
        """Look again when the connection that has been idle longest has been so too long.

        One timer for all: a connection that is used all the time would set one with each use.
        """
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        if self._idle:
            left_s = self._idle[0].idle_since + self._keepalive_s - time.monotonic()
            loop = asyncio.get_running_loop()
            self._sweep = loop.call_later(max(left_s, 0.0), self._close_stale)

    def _close_stale(self) -> None:
        self._sweep = None
        since = time.monotonic() - self._keepalive_s
        stale = [each for each in self._idle if each.idle_since <= since]
        self._idle = [each for each in self._idle if each.idle_since > since]
        for connection in stale:
            connection.close()
        self._sweep_later()


def _unless_doubtful(connection: Http1Connection | None) -> Http1Connection | None:
    if connection is not None and not connection.is_quiet():
        connection.close()
        return None
    return connection
