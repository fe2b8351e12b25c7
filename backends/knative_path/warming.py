"""Warms an extension's handler when its page was fetched: whoever has the page calls it next.

Beside the traffic, bounded, best effort: what is not warmed is slower and not wrong.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from backends.contract import AssetRequest
from backends.errors import BackendError

AT_ONCE: Final = 4
"""More pages than this do not warm: files and calls need the connections."""

STAYS_WARM_S: Final = 60.0
"""As long as a pod without calls stays; Knative's own window."""

_REMEMBERED: Final = 1024

_log = structlog.get_logger("backends.knative")


class Warming:
    """Which handlers are warm, as far as this process has made or seen them so.

    Args:
        send: asks the runner to warm the bundle of a page; raises BackendError.
        is_cold: the service sleeps, so nothing in it is warm any more.
    """

    def __init__(
        self,
        send: Callable[[AssetRequest], Awaitable[None]],
        *,
        is_cold: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._is_cold = is_cold
        self._clock = clock
        self._warm_at: OrderedDict[str, float] = OrderedDict()
        self._running: dict[str, asyncio.Task[None]] = {}

    def called(self, content_hash: str) -> None:
        """A handler of this bundle has answered: it is warm."""
        self._warm_at[content_hash] = self._clock()
        self._warm_at.move_to_end(content_hash)
        if len(self._warm_at) > _REMEMBERED:
            self._warm_at.popitem(last=False)

    def page_fetched(self, page: AssetRequest) -> None:
        """Warm this bundle's handler, unless it is warm, is being warmed, or enough others are."""
        content_hash = page.content_hash
        if content_hash in self._running or len(self._running) >= AT_ONCE:
            return
        warm_at = self._warm_at.get(content_hash)
        if warm_at is not None and self._clock() - warm_at < STAYS_WARM_S and not self._is_cold():
            return
        self._running[content_hash] = asyncio.create_task(self._warm(page))

    async def aclose(self) -> None:
        """Stop what is under way."""
        tasks = tuple(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _warm(self, page: AssetRequest) -> None:
        try:
            await self._send(page)
            self.called(page.content_hash)
        except BackendError as failure:
            _log.info("handler_not_warmed", extension=page.extension_id, error=failure.reason)
        finally:
            del self._running[page.content_hash]
