"""An answer that is whole: its head and its body leave in one write.

aiohttp's Response also handles text, charsets, compression and payloads; an answer on its way
through this gateway has none of them, and most of the requests end in one.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time
from multidict import CIMultiDict

from backends.contract import Pairs

BODILESS: Final = frozenset({204, 304})
"""Statuses whose answers have no body (RFC 9110 section 6.4.1)."""

_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}


class Answer(web.StreamResponse):
    """A status, fields and a body.

    Args:
        headers: as they go out. A content-length counts in an answer to HEAD alone, where it
            speaks of a body that does not come (RFC 9110 section 8.6).
        body: None and b"" are alike.
        length: of a body that follows by itself; None: `body` is all.
        again: gives the body while the same question would be answered the same; None: not known.
    """

    status = 200  # a plain attribute: it is read often

    def __init__(
        self,
        status: int,
        headers: Pairs = (),
        body: bytes | memoryview | None = None,
        *,
        length: int | None = None,
        again: Callable[[], bytes | memoryview | None] | None = None,
    ) -> None:
        # Not the parent's: most answers are written from these and need nothing else.
        self._status = self.status = status
        self.again = again
        self._length = length
        self.pairs = headers
        self.body = body or b""
        self._fields: CIMultiDict[str] | None = None

    @property
    def _headers(self) -> CIMultiDict[str]:  # type: ignore[override]  # made when asked for
        if self._fields is None:
            self._fields = CIMultiDict(self.pairs)
        return self._fields

    @property
    def _reason(self) -> str:  # type: ignore[override]
        return _REASONS.get(self._status, "")

    @property
    def _state(self) -> dict[Any, Any]:  # type: ignore[override]
        return {}

    @property
    def is_head_only(self) -> bool:
        """Whether the body follows by itself."""
        return self._length is not None

    @property
    def length(self) -> int:
        """What an answer says of a body that comes after it, or to HEAD not at all."""
        if self._length is not None:
            return self._length
        told = next((value for name, value in self.pairs if name == "content-length"), None)
        return len(self.body) if told is None else int(told)

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
        without_body = self._status in BODILESS or (
            request is not None and request.method == hdrs.METH_HEAD
        )
        await super().write_eof(b"" if without_body else bytes(self.body))

    def _complete(self, request: web.BaseRequest) -> None:
        headers = self._headers
        if self._status in BODILESS:
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
