"""Answers of other programs, taken in whole but never without a bound."""

import aiohttp


class AnswerTooLong(Exception):
    """More came than is taken in."""


async def read_within(stream: aiohttp.StreamReader, max_bytes: int) -> bytes:
    """All of it. Raises AnswerTooLong as soon as more than `max_bytes` came."""
    content = bytearray()
    async for chunk in stream.iter_any():
        content += chunk
        if len(content) > max_bytes:
            raise AnswerTooLong
    return bytes(content)
