"""The reading end of one connection, stricter than aiohttp's own in three places.

Each closes a hole that was seen on the wire: bytes that came between two exchanges were taken
for the beginning of the next answer; a fault in a chunked body woke nobody, so its reader
waited for the idle limit; a reset passed for the orderly end of a body without a length.
"""

from aiohttp import ClientPayloadError
from aiohttp.client_proto import ResponseHandler


class StrictResponseHandler(ResponseHandler):
    """A ResponseHandler that believes a peer only while an exchange is running.

    Attributes:
        idle: no exchange is running; whatever comes now ends the connection.
    """

    idle = False

    def data_received(self, data: bytes) -> None:
        if self.idle and data:
            self.abort()
            return
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        body = self._payload
        if exc is not None and body is not None and not body.is_eof():
            # RFC 9112 section 8: an error of the connection makes the answer incomplete.
            body.set_exception(ClientPayloadError("reset"))
        super().connection_lost(exc)
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(ClientPayloadError("broken framing"))
