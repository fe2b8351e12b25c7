"""Takes an answer of another program in whole, but never without a bound."""

from aiohttp import ClientResponse

_CHUNK_BYTES = 64 * 1024


class BodyTooLarge(Exception):
    """The body is longer than the reader was willing to hold."""


async def read_at_most(response: ClientResponse, max_bytes: int) -> bytes:
    """The whole body. Raises BodyTooLarge as soon as it is known to exceed `max_bytes`."""
    announced = response.content_length or 0
    # An answer to HEAD, a 204 or a 304 announces what does not come (RFC 9110 section 8.6).
    if announced > max_bytes and not response.content.at_eof():
        raise BodyTooLarge
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) > max_bytes:
            raise BodyTooLarge
    return bytes(body)
