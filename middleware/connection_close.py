"""End a connection whose next bytes are not wanted or cannot be trusted.

After a refused upload the rest of the body is still on its way. aiohttp reads and discards
it for its whole lingering time, as fast as the client sends, and would take what follows for
the next request. Closing at once is no better: unread bytes turn the close into a reset,
which can overtake the answer; and many clients send all before they read, to whom it would be a
broken pipe. So the answer goes out, what still comes is discarded within bounds, and then the
connection goes (RFC 9112 section 9.6).
"""

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Final

from aiohttp import StreamReader, hdrs, web
from aiohttp.typedefs import Handler, Middleware

from middleware.carried import carried

LINGER_S: Final = 30.0
"""How long a client that is still sending is listened to."""

LINGER_PAUSE_S: Final = 2.0
"""The same for one that has stopped."""

LINGER_BYTES: Final = 128 * 1024 * 1024
"""How much of what it still sends is taken; afterwards TCP holds it back."""

_NOTICE_S: Final = 1.0  # for a client that is held back to read its answer

_KEPT_REMAINDER_BYTES: Final = 64 * 1024  # cheaper to read than a new connection is to make
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # struct linger: on, no time

_CLOSE = web.RequestKey("close_after_answer", bool)

CONTINUED = web.RequestKey("continued", bool)
"""Set once 100 Continue went out: from then on the body surely comes."""


def close_after_answer(request: web.BaseRequest) -> None:
    """Make the answer to this request the connection's last."""
    request[_CLOSE] = True


def reset_connection(request: web.BaseRequest) -> None:
    """Break the connection so that the client cannot take what it has for the whole.

    An answer without a length ends where the connection ends, so closing it would look like
    success; a reset looks like what it is. Without a connection there is nothing to do.
    """
    transport = request.transport
    if transport is None:
        return
    with suppress(AttributeError, OSError):  # no socket, or none any more
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


def connection_close() -> Middleware:
    """Announce and carry out the end of a connection that must not be used again.

    It sends those answers itself, so it belongs outside of everything that measures time.
    """

    @web.middleware
    async def close(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        refused = response.status >= 400 and _more_is_coming(request)
        if response.prepared or not (refused or carried(request, _CLOSE)):
            return response
        response.force_close()
        if not request.content.is_eof():
            await _send(request, response)
            await _linger(request.content)
            # The server waits for the body's end before it closes: this is that end.
            request.content.feed_eof()
        return response

    return close


def _more_is_coming(request: web.BaseRequest) -> bool:
    if request.content.is_eof():
        return False
    if hdrs.EXPECT in request.headers and not carried(request, CONTINUED):
        # The client may send the body or drop it: the next bytes could be either.
        return True
    length = request.content_length
    return length is None or length - request.content.total_bytes > _KEPT_REMAINDER_BYTES


async def _send(request: web.Request, response: web.StreamResponse) -> None:
    try:
        await response.prepare(request)
        await response.write_eof()
    except ConnectionError:
        request.content.feed_eof()


async def _linger(content: StreamReader) -> None:
    now, discarded = asyncio.get_running_loop().time, 0
    ends = now() + LINGER_S
    with suppress(TimeoutError, ConnectionError, web.RequestPayloadError):
        async with asyncio.timeout(None) as limit:
            while discarded < LINGER_BYTES and not content.at_eof():
                limit.reschedule(min(ends, now() + LINGER_PAUSE_S))
                discarded += len(await content.readany())
            limit.reschedule(now() + _NOTICE_S)
            await content.wait_eof()
