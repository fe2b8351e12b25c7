"""aiohttp's site on a socket, without a limit that the event loop has for connections with TLS."""

import asyncio
import socket
import ssl
from typing import Any, Final, cast

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
            backlog=self._backlog,
            **_tls(self._ssl_context),
        )


async def serve_accepted(
    runner: web.BaseRunner, connection: socket.socket, context: ssl.SSLContext | None
) -> None:
    """Serve one connection as a site would that had accepted it. Raises OSError when it is lost."""
    server = cast(web.Server, runner.server)
    loop = asyncio.get_running_loop()
    await loop.connect_accepted_socket(server, connection, **_tls(context))


def _tls(context: ssl.SSLContext | None) -> dict[str, Any]:
    return {"ssl": context, "ssl_shutdown_timeout": None if context is None else _A_DAY_S}
