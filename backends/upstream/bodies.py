"""Taking bodies in whole, and getting rid of them, both within a bound."""

import asyncio
from typing import Final

from backends.contract import ByteStream, Pairs
from backends.errors import BackendError, Phase, RunnerProtocolError

_DISCARD_BYTES: Final = 4096
_DISCARD_S: Final = 0.05


async def read_whole(body: ByteStream, *, max_bytes: int) -> bytes:
    """Everything that is left of a body, which is closed afterwards.

    Raises:
        RunnerProtocolError: "answer_too_large", as soon as more than `max_bytes` came.
        BackendError: what the body raises.
    """
    parts = []
    size = 0
    try:
        async for part in body:
            size += len(part)
            if size > max_bytes:
                raise RunnerProtocolError("answer_too_large", phase=Phase.BODY)
            parts.append(part)
    finally:
        await body.aclose()
    return b"".join(parts)


async def discard(body: ByteStream) -> None:
    """Drop a body that nobody may see: a short one that is there keeps its connection usable."""
    try:
        async with asyncio.timeout(_DISCARD_S):
            await read_whole(body, max_bytes=_DISCARD_BYTES)
    except (BackendError, TimeoutError):
        await body.aclose()


def content_length(headers: Pairs) -> int | None:
    """The length that a head announces; None when it does not say."""
    for name, value in headers:
        if name == "content-length" and value.isascii() and value.isdigit():
            return int(value)
    return None
