"""How much a client may send, and how slowly.

A body is not asked for, let alone read, until every other check let the request pass: what
is refused by its Content-Length costs one packet, not two gigabytes.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Final

from aiohttp import HttpVersion11, hdrs, web

from middleware.carried import carried
from middleware.connection_close import CONTINUED, close_after_answer
from middleware.errors import InvalidRequest, PayloadTooLarge, RequestTimeout
from middleware.guard import Guard
from middleware.source import Source

_OTHER_MEMBERS_BYTES: Final = 1_048_576


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimit:
    """At most `max_bytes`, and never `idle_s` seconds without progress."""

    max_bytes: int
    idle_s: float = 15.0

    def of_an_envelope(self) -> "BodyLimit":
        """The limit for an envelope, which carries such a body as base64 among other members.

        >>> BodyLimit(max_bytes=3_000_000).of_an_envelope().max_bytes
        5048576
        """
        return replace(self, max_bytes=self.max_bytes * 4 // 3 + _OTHER_MEMBERS_BYTES)


_LIMIT = web.RequestKey("body_limit", BodyLimit)

WHOLE_BODY = web.RequestKey("whole_body", bytes)
"""The body of a request that came with it in one piece, its length within the limit."""


def body_limit(source: Source[BodyLimit]) -> Guard:
    """Refuse what announces itself as too long; fix the limit for `read_body`.

    Raises PayloadTooLarge, and HTTPExpectationFailed for an expectation other than
    100-continue (RFC 9110 section 10.1.1).
    """

    def limit(request: web.Request) -> None:
        config = request[_LIMIT] = source()
        if (length := request.content_length) is not None:
            check_length(config, length)
        expectation = request.headers.get(hdrs.EXPECT)
        if expectation is not None and _expects(request) and expectation.lower() != "100-continue":
            raise web.HTTPExpectationFailed

    return limit


def check_length(config: BodyLimit, length: int) -> None:
    """Refuse a body of `length` bytes that is over the limit. Raises PayloadTooLarge."""
    if length > config.max_bytes:
        raise PayloadTooLarge(config.max_bytes)


async def no_continue_yet(request: web.Request) -> None:
    """The `expect_handler` of every route: stay silent until somebody reads the body.

    aiohttp's own asks for the body before any middleware had a say.
    """


async def read_body(request: web.Request) -> bytes | None:
    """Ask for the body if the client waits for that, and read all of it.

    Returns:
        None when the request has no body at all; b"" when it has an empty one.

    Raises:
        PayloadTooLarge: more came than the limit allows.
        RequestTimeout: nothing came for `idle_s` seconds.
        InvalidRequest: what came breaks HTTP.
        ConnectionError: the client is gone.

    The `body_limit` middleware must have seen the request.
    """
    whole = carried(request, WHOLE_BODY)
    if whole is not None:
        return whole
    if hdrs.CONTENT_LENGTH not in request.headers and hdrs.TRANSFER_ENCODING not in request.headers:
        return None
    config = request[_LIMIT]
    await _ask_for_body(request)
    chunks: list[bytes] = []
    received = 0
    try:
        while not request.content.at_eof():
            async with asyncio.timeout(config.idle_s):
                chunk = await request.content.readany()
            received += len(chunk)
            if received > config.max_bytes:
                raise PayloadTooLarge(config.max_bytes)
            chunks.append(chunk)
    except TimeoutError:
        close_after_answer(request)
        raise RequestTimeout from None
    except web.RequestPayloadError:
        close_after_answer(request)
        raise InvalidRequest("malformed_body") from None
    return b"".join(chunks)


def _expects(request: web.BaseRequest) -> bool:
    # An HTTP/1.0 client cannot read a 100: its Expect must be ignored (RFC 9110 10.1.1).
    return request.version == HttpVersion11 and hdrs.EXPECT in request.headers


async def _ask_for_body(request: web.Request) -> None:
    if not _expects(request) or carried(request, CONTINUED):
        return
    request[CONTINUED] = True
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    # An interim answer is not the start of the answer.
    request.writer.output_size = 0
