"""Words in the silence of an event stream, so that nobody in between takes it for dead.

Proxies count silence: Next.js breaks a stream off after 30 s of it unless it is told otherwise,
and others are less patient. A comment is not an event, so no page sees one.

Source: the HTML standard, section 9.2 (server-sent events): lines that begin with a colon are
ignored, and proxies are kept awake by one "every 15 seconds or so".
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from backends.contract import ByteStream, Pairs
from backends.upstream.bodies import content_length, is_event_stream
from gateway.http.event_streams import HEARTBEAT_S

HEARTBEAT: Final = b":\n"


def may_have_heartbeats(headers: Pairs) -> bool:
    """Whether a body with this head takes additions: of events, not coded, of no fixed length."""
    if not is_event_stream(headers) or content_length(headers) is not None:
        return False
    codings = (value for name, value in headers if name == "content-encoding")
    return all(value.strip().lower() == "identity" for value in codings)


async def with_heartbeats(body: ByteStream) -> AsyncIterator[bytes]:
    """The parts of `body`, and a comment whenever none has come for HEARTBEAT_S.

    None is put inside a line, where it would become part of an event's data.
    """
    at_line_start = True
    parts = aiter(body)
    part = asyncio.ensure_future(_next_of(parts))
    try:
        while True:
            done, _ = await asyncio.wait((part,), timeout=HEARTBEAT_S)
            if done:
                content = part.result()
                if content is None:
                    return
                at_line_start = content.endswith(b"\n") if content else at_line_start
                yield content
                part = asyncio.ensure_future(_next_of(parts))
            elif at_line_start:
                yield HEARTBEAT
    finally:
        part.cancel()
        await asyncio.gather(part, return_exceptions=True)


async def _next_of(parts: AsyncIterator[bytes]) -> bytes | None:
    try:
        return await anext(parts)
    except StopAsyncIteration:
        return None
