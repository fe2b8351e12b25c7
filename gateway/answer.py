"""An answer that is whole: its head and its body leave in one write.

aiohttp's Response also handles text, charsets, compression and payloads; an answer on its way
through this gateway has none of them, and most of the requests end in one.
"""

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time
from multidict import CIMultiDict

from backends.contract import Pairs

_BODILESS = frozenset({204, 304})


class Answer(web.StreamResponse):
    """A status, fields and a body.

    Args:
        headers: as they go out. A content-length counts in an answer to HEAD alone, where it
            speaks of a body that does not come (RFC 9110 section 8.6).
        body: None and b"" are alike.
    """

    def __init__(self, status: int, headers: Pairs = (), body: bytes | None = None) -> None:
        super().__init__(status=status, _real_headers=CIMultiDict(headers))
        self.body = body or b""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Complete the fields and hold the head back until the body comes."""
        if self._eof_sent or self._payload_writer is not None:
            return self._payload_writer
        self._req = request
        writer = self._payload_writer = request._payload_writer
        if self._keep_alive is None:
            self._keep_alive = request.keep_alive
        self._complete(request)
        await request._prepare_hook(self)
        await writer.write_headers(f"HTTP/1.1 {self._status} {self._reason}", self._headers)
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Send all of it."""
        request = self._req
        without_body = self._status in _BODILESS or (
            request is not None and request.method == hdrs.METH_HEAD
        )
        await super().write_eof(b"" if without_body else self.body)

    def _complete(self, request: web.BaseRequest) -> None:
        headers = self._headers
        if self._status in _BODILESS:
            headers.popall(hdrs.CONTENT_LENGTH, None)
        elif request.method != hdrs.METH_HEAD or hdrs.CONTENT_LENGTH not in headers:
            headers[hdrs.CONTENT_LENGTH] = str(len(self.body))
        if self.body and hdrs.CONTENT_TYPE not in headers:
            headers[hdrs.CONTENT_TYPE] = "application/octet-stream"
        headers[hdrs.DATE] = rfc822_formatted_time()
        if not self._keep_alive:
            headers[hdrs.CONNECTION] = "close"
        elif request.version != HttpVersion11:
            headers[hdrs.CONNECTION] = "keep-alive"
