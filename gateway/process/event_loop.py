"""uvloop, but for names: they are looked up in threads of ours.

uvloop asks libuv's pool of threads for names, and whenever a socket is connected, for its
address. Where the system refuses that pool its threads, libuv ends the process (SIGABRT).
"""

import asyncio
import socket
from functools import partial
from typing import Any, Final

import uvloop

from backends.forgotten_threads import ForgottenThreads

LOOKUPS_AT_ONCE: Final = 8
"""More than there are names in the settings; guests' names have threads of their own."""


class EventLoop(uvloop.Loop):
    """A loop whose lookups end no process and hold up no end of one, however long they take."""

    def __init__(self) -> None:
        super().__init__()
        # Not the loop's own: a stop would wait for a name server that does not answer.
        self._name_threads = ForgottenThreads(LOOKUPS_AT_ONCE, "dns")
        self._lookups: dict[object, asyncio.Task[list[Any]]] = {}

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """See asyncio.loop.getaddrinfo. An address takes no thread. Raises OSError."""
        ask = partial(socket.getaddrinfo, host, port, family, type, proto)
        try:
            return ask(flags | socket.AI_NUMERICHOST)
        except socket.gaierror:
            pass  # a name
        question = (host, port, family, type, proto, flags)
        if (lookup := self._lookups.get(question)) is None:
            lookup = self.create_task(self._look_up(partial(ask, flags)), name="lookup")
            lookup.add_done_callback(partial(self._looked_up, question))
            self._lookups[question] = lookup
        # One serves all that ask the same and outlives those who give up: a thread that waits
        # for a name server cannot be stopped, and there are only a few of them.
        return await asyncio.shield(lookup)

    async def getnameinfo(
        self,
        sockaddr: tuple[str, int] | tuple[str, int, int] | tuple[str, int, int, int],
        flags: int = 0,
    ) -> tuple[str, str]:
        """See asyncio.loop.getnameinfo. Raises OSError."""
        return await self.run_in_executor(self._name_threads, socket.getnameinfo, sockaddr, flags)

    async def _look_up(self, ask: partial[list[Any]]) -> list[Any]:
        return await self.run_in_executor(self._name_threads, ask)

    def _looked_up(self, question: object, lookup: asyncio.Task[list[Any]]) -> None:
        del self._lookups[question]
        if not lookup.cancelled():
            lookup.exception()  # seen, though everybody may have given up
