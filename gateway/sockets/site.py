"""aiohttp's site on a socket, without a limit that the event loop has for connections with TLS."""

import asyncio
from typing import Final, cast

from aiohttp import web

_A_DAY_S: Final = 86_400.0


class GatewaySite(web.SockSite):
    """A site that leaves it to ClientTransport how long a client may take to its last byte.

    With TLS the event loop would abort a connection 30 s after it was told to close it, whatever
    was still on its way.
    """

    async def start(self) -> None:
        await super(web.SockSite, self).start()
        self._server = await asyncio.get_running_loop().create_server(
            cast(web.Server, self._runner.server),
            sock=self._sock,
            ssl=self._ssl_context,
            backlog=self._backlog,
            ssl_shutdown_timeout=None if self._ssl_context is None else _A_DAY_S,
        )
