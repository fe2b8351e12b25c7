"""Connects sockets to addresses that were looked up already, without a thread.

uvloop looks up numeric addresses as well, in threads of its own: that takes longer than to
connect, and where the system refuses them, the process ends.
"""

import asyncio
import os
import socket
from typing import Any, Final, cast


class _Connects:
    """The one method that aiohappyeyeballs needs of a loop."""

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect a socket that does not block. Raises OSError."""
        try:
            return sock.connect(address)
        except BlockingIOError:
            pass
        loop = asyncio.get_running_loop()
        decided, descriptor = loop.create_future(), sock.fileno()
        loop.add_writer(descriptor, _decide, decided)
        try:
            await decided
        finally:
            loop.remove_writer(descriptor)
        if failure := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(failure, os.strerror(failure))


def _decide(decided: asyncio.Future[None]) -> None:
    if not decided.done():
        decided.set_result(None)


CONNECTS: Final = cast(asyncio.AbstractEventLoop, _Connects())
