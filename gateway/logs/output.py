"""Where log lines end: a descriptor, written to without waiting where it can be asked not to.

Whether a write waits is a property of the open file, which others share: a terminal that was left
non-blocking is broken for the shell. So single writes say that they do not want to wait; pipes
(Linux 6.4) and sockets listen to that, files and terminals do not.
"""

import errno
import os
import select
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Final

_WHOLE_BYTES: Final = select.PIPE_BUF
"""A write to a pipe of no more than this is never mixed with another process's (pipe(7))."""

_NO_WAIT: Final[int] = getattr(os, "RWF_NOWAIT", 0)  # 0: only Linux has it
_NEVER_HEARD_OF: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


class LineOutput:
    """Writes whole lines to a descriptor, and never closes it.

    Attributes:
        can_refuse: whether `offer` is to be called.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._socket: socket.socket | None = None
        self._is_pipe = False
        self._offer: Callable[[memoryview], int] | None = None
        self._is_amid_a_line = False
        with suppress(OSError):  # a descriptor that is none: `write` will say so
            self._look_at(os.fstat(descriptor).st_mode)

    @property
    def can_refuse(self) -> bool:
        return self._offer is not None

    def offer(self, lines: bytes) -> int:
        """Write as much as is taken at once.

        Returns:
            How many bytes that was.

        Raises:
            OSError: nothing will ever be taken.
        """
        offer, taken = self._offer, 0
        if offer is not None:
            with suppress(BlockingIOError):
                for piece in self._pieces(lines):
                    written = offer(piece)
                    taken += written
                    if written < len(piece):
                        break
        return taken

    def write(self, lines: bytes | bytearray) -> int:
        """Write all of it, however long that takes.

        Returns:
            How many bytes that was: fewer when nobody reads any more, or the disk is full.
        """
        written = 0
        with suppress(OSError):
            if self._is_amid_a_line:  # which the disk had no room for; the next is not a part of it
                os.write(self._descriptor, b"\n")
                self._is_amid_a_line = False
            for piece in self._pieces(lines):
                end = written + len(piece)
                while written < end:
                    try:
                        written += os.write(self._descriptor, piece[written - end :])
                    except BlockingIOError:
                        self._await_room()  # somebody who shares it, as Node.js does, made it so
        if 0 < written < len(lines):
            self._is_amid_a_line = lines[written - 1 : written] != b"\n"
        return written

    def _await_room(self) -> None:
        waiting = select.poll()
        waiting.register(self._descriptor, select.POLLOUT)
        waiting.poll()

    def close(self) -> None:
        """Give up what was needed beside the descriptor."""
        self._offer = None
        if self._socket is not None:
            self._socket.close()

    def _look_at(self, mode: int) -> None:
        self._is_pipe = stat.S_ISFIFO(mode)
        if self._is_pipe and _NO_WAIT:
            self._offer = self._offer_to_pipe
        elif stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=os.dup(self._descriptor))
            if self._socket.type == socket.SOCK_STREAM:
                self._offer = partial(_offer_to_socket, self._socket)

    def _offer_to_pipe(self, piece: memoryview) -> int:
        try:
            return os.pwritev(self._descriptor, (piece,), -1, _NO_WAIT)
        except OSError as error:
            if error.errno not in _NEVER_HEARD_OF:
                raise
            self._offer = None  # an older kernel
            raise BlockingIOError from None

    def _pieces(self, lines: bytes | bytearray) -> Iterator[memoryview]:
        """Views that end where a line ends; of a pipe, no longer than it keeps together."""
        view, start, size = memoryview(lines), 0, len(lines)
        while self._is_pipe and size - start > _WHOLE_BYTES:
            end = lines.rfind(b"\n", start, start + _WHOLE_BYTES) + 1
            if not end:  # a line that is longer
                end = lines.find(b"\n", start) + 1 or size
            yield view[start:end]
            start = end
        if start < size:
            yield view[start:]


def _offer_to_socket(end: socket.socket, piece: memoryview) -> int:
    return end.send(piece, socket.MSG_DONTWAIT)
