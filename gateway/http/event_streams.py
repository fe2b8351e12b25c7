"""What our own streams of server-sent events have in common (the HTML standard, section 9.2)."""

import asyncio
from typing import Final

from aiohttp import web

HEARTBEAT_S: Final = 15.0
"""How long a stream is left without a word: proxies take a silent one for dead."""


async def write_event(response: web.StreamResponse, event: bytes, *, within_s: float) -> None:
    """Send one event, or cut a reader off who takes nothing.

    Raises:
        ConnectionResetError: it could not be sent in time.
    """
    try:
        async with asyncio.timeout(within_s):
            await response.write(event)
    except TimeoutError:
        raise ConnectionResetError("the reader takes nothing") from None
