"""The document as a stream: whole at first, then what changed, once a second.

Server-sent events (the HTML standard, section "Server-sent events"). Viewers share one
document, so the second one costs a comparison.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from typing import Final

import orjson

from gateway.console.sections import Sections
from gateway.http.event_streams import HEARTBEAT_S
from gateway.http.places import Places

MAX_VIEWERS: Final = 8
EVERY_S: Final = 1.0
_FRESH_S: Final = EVERY_S / 2
_NOTHING: Final = object()

HEARTBEAT: Final = b": still here\n\n"


class Feed:
    """Hands out the document until it is stopped.

    Args:
        gather: makes the document.
        every_s: how often a viewer hears of changes.
        heartbeat_s: how long it is left without a word.
    """

    def __init__(
        self,
        gather: Callable[[], Awaitable[Sections]],
        *,
        every_s: float = EVERY_S,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._gather = gather
        self._every_s = every_s
        self._heartbeat_s = heartbeat_s
        self._stopped = asyncio.Event()
        self._gathering = asyncio.Lock()
        self._document: Sections = {}
        self._fresh_until = 0.0
        self._places = Places(MAX_VIEWERS, retry_after_s=10, reason="too_many_console_viewers")

    def stop(self) -> None:
        """End every stream now, and every later one after its first event."""
        self._stopped.set()

    def place(self) -> AbstractContextManager[None]:
        """One viewer's place for as long as the block runs. Raises Overloaded when none is left."""
        return self._places.place()

    async def document(self) -> Sections:
        """The document, at most half a second old."""
        async with self._gathering:
            if time.monotonic() >= self._fresh_until:
                self._document = await self._gather()
                self._fresh_until = time.monotonic() + min(_FRESH_S, self._every_s / 2)
            return self._document

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Events named "sections" with the sections that changed, and comments in between."""
        sent: Sections = {}
        silent_since = time.monotonic()
        while True:
            now = await self.document()
            changed = {
                name: section
                for name, section in now.items()
                if section != sent.get(name, _NOTHING)
            }
            if changed:
                yield b"event: sections\ndata: " + orjson.dumps(changed, default=str) + b"\n\n"
                sent, silent_since = now, time.monotonic()
            elif time.monotonic() - silent_since >= self._heartbeat_s:
                yield HEARTBEAT
                silent_since = time.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._stopped.wait()
            if self._stopped.is_set():
                return
