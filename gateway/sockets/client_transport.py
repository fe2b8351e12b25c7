"""Ends a client's connection when the client has stopped reading what it was sent.

A client that does not read holds a request, its runner's connection and the bytes in between. TCP
alone would let that last for ever, since the other end still acknowledges that it is there.
"""

import asyncio
import select
import struct
import sys
from contextlib import suppress
from socket import IPPROTO_TCP, SO_LINGER, SOL_SOCKET
from typing import Final

import structlog

from backends.turn_writes import TurnTransport

if sys.platform == "linux":
    import fcntl
    import termios
    from socket import TCP_INFO

_log = structlog.get_logger("gateway.sockets.client_transport")

_INT: Final = struct.Struct("i")
_DROP_AT_ONCE: Final = struct.pack("ii", 1, 0)
_BYTES_ACKED: Final = struct.Struct("120xQ")  # of Linux' struct tcp_info
_SENT_LOOK_S: Final = 0.05


class ClientTransport(TurnTransport):
    """A TurnTransport whose client is watched while bytes wait for it.

    A transport with TLS does not tell what it has handed on to the one beneath it, which may be
    megabytes. So the system is asked: that one writes whenever there is room for it.

    Args:
        stalled_after_s: so long without a byte taken, and the connection is aborted.
    """

    __slots__ = ("_has_tls", "_is_lost", "_seen", "_stalled_after_s", "_timer")

    def __init__(self, beneath: asyncio.Transport, stalled_after_s: float) -> None:
        super().__init__(beneath)
        self._has_tls = beneath.get_extra_info("sslcontext") is not None
        self._is_lost = False
        self._stalled_after_s = stalled_after_s
        self._timer: asyncio.TimerHandle | None = None
        self._seen: tuple[int, int] | None = None  # None: it has taken something since

    def watch(self) -> None:
        """More waits than the system takes: see that it becomes less."""
        if self._timer is None:
            self._seen = self._look_at_client()
            self._arm()

    def progressed(self) -> None:
        """The client has taken something."""
        self._seen = None

    def unwatch(self) -> None:
        """The connection is over."""
        self._is_lost = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Close it once the client has taken what was written, if it does."""
        super().close()
        # TLS waits for the client to say goodbye, too.
        if not self._is_lost and (self._has_tls or self._waits()):
            self.watch()

    async def sent(self) -> None:
        """Wait until what was written has left this process."""
        seen = None
        while not self._is_lost:
            # Whatever has room, and had it when it looked last, has written all there is.
            before, seen = seen, self._look_at_client()
            if seen == before and not self._waits():
                return
            await asyncio.sleep(_SENT_LOOK_S)

    def _waits(self) -> bool:
        """Whether something that was written waits in this process, as far as one can see."""
        return self.beneath.get_write_buffer_size() > 0 or (
            self._has_tls and not _has_room(self.beneath)
        )

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._stalled_after_s, self._look)

    def _look(self) -> None:
        self._timer = None
        waits = self._waits()
        if not (waits or self.is_closing()):
            return
        before, self._seen = self._seen, self._look_at_client()
        unread, taken = self._seen
        if before is None or unread < before[0] or taken > before[1]:
            self._arm()
        elif waits:
            _log.info("client_stalled", unread_bytes=unread)
            self._reset()
        else:  # it has everything, and does not say goodbye
            self.abort()

    def _reset(self) -> None:
        """Abort it, and let the system forget what it still holds for the client."""
        with suppress(AttributeError, OSError):  # no socket, or none any more
            socket = self.beneath.get_extra_info("socket")
            socket.setsockopt(SOL_SOCKET, SO_LINGER, _DROP_AT_ONCE)
        self.abort()

    def _look_at_client(self) -> tuple[int, int]:
        """Bytes that the client has not acknowledged, and that it has, as far as one can see."""
        unread = self.beneath.get_write_buffer_size() + _queued_by_the_system(self.beneath)
        return unread, _acknowledged(self.beneath)


def _queued_by_the_system(transport: asyncio.Transport) -> int:
    """Bytes that wait in the socket: without them a slow client would seem to take nothing.

    The system asks for more only when a third of a buffer of megabytes has become free.
    """
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):  # no socket, or none any more
            socket = transport.get_extra_info("socket")
            told = fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, _INT.pack(0))
            return int(_INT.unpack(told)[0])
    return 0


def _acknowledged(transport: asyncio.Transport) -> int:
    """Bytes that the client's system has taken so far; 0 where this one does not tell."""
    if sys.platform == "linux":
        with suppress(AttributeError, OSError, struct.error):  # no such socket, an older system
            socket = transport.get_extra_info("socket")
            told = socket.getsockopt(IPPROTO_TCP, TCP_INFO, _BYTES_ACKED.size)
            return int(_BYTES_ACKED.unpack(told)[0])
    return 0


def _has_room(transport: asyncio.Transport) -> bool:
    """Whether the system would take more for the client."""
    poll = select.poll()
    try:
        poll.register(transport.get_extra_info("socket"), select.POLLOUT)
    except (AttributeError, TypeError, ValueError):  # no socket, or none any more
        return True
    return bool(poll.poll(0))
