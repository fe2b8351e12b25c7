"""Ends a client's connection when the client has stopped reading what it was sent.

A client that does not read holds a request, its runner's connection and the bytes in between. TCP
alone would let that last for ever, since the other end still acknowledges that it is there.
"""

import asyncio
import math
import struct
import sys
from contextlib import suppress
from socket import SO_LINGER, SOL_SOCKET
from typing import Final

import structlog

from backends.turn_writes import TurnTransport

if sys.platform == "linux":
    import fcntl
    import termios

_log = structlog.get_logger("gateway.client_transport")

_INT: Final = struct.Struct("i")
_DROP_AT_ONCE: Final = struct.pack("ii", 1, 0)


class ClientTransport(TurnTransport):
    """A TurnTransport whose client is watched while bytes wait for it.

    Args:
        stalled_after_s: so long without a byte taken, and the connection is aborted.
    """

    __slots__ = ("_stalled_after_s", "_timer", "_unread")

    def __init__(self, beneath: asyncio.Transport, stalled_after_s: float) -> None:
        super().__init__(beneath)
        self._stalled_after_s = stalled_after_s
        self._timer: asyncio.TimerHandle | None = None
        self._unread = math.inf

    def watch(self) -> None:
        """More waits than the system takes: see that it becomes less."""
        if self._timer is None:
            self._unread = self._unread_bytes()
            self._arm()

    def progressed(self) -> None:
        """The client has taken something."""
        self._unread = math.inf

    def unwatch(self) -> None:
        """The connection is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Close it once the client has taken what was written, if it does."""
        super().close()
        if self.beneath.get_write_buffer_size():
            self.watch()

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._stalled_after_s, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self.beneath.get_write_buffer_size():
            return
        unread = self._unread_bytes()
        if unread < self._unread:
            self._unread = unread
            self._arm()
        else:
            _log.info("client_stalled", unread_bytes=unread)
            self._reset()

    def _reset(self) -> None:
        """Abort it, and let the system forget what it still holds for the client."""
        with suppress(AttributeError, OSError):  # no socket, or none any more
            socket = self.beneath.get_extra_info("socket")
            socket.setsockopt(SOL_SOCKET, SO_LINGER, _DROP_AT_ONCE)
        self.abort()

    def _unread_bytes(self) -> int:
        """What the client has not acknowledged yet, as far as the system tells."""
        return self.beneath.get_write_buffer_size() + _queued_by_the_system(self.beneath)


def _queued_by_the_system(transport: asyncio.Transport) -> int:
    """Bytes that wait in the socket: without them a slow client would seem to take nothing.

    The system asks for more only when a third of a buffer of megabytes has become free.
    """
    if sys.platform != "linux":
        return 0
    try:
        socket = transport.get_extra_info("socket")
        queued: int = _INT.unpack(fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, _INT.pack(0)))[0]
    except (AttributeError, OSError):  # no socket, or none any more
        return 0
    return queued
