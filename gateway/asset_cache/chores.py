"""Background work that no request waits for: bounded, and dropped when the queue is full."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

_log = structlog.get_logger("asset_cache")


class Chores:
    """Runs what it is offered, a few at a time.

    Args:
        at_once: how many run side by side.
        waiting: how many more may wait for their turn.
    """

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self._most = at_once + waiting
        self._turn = asyncio.Semaphore(at_once)
        self._tasks: set[asyncio.Task[None]] = set()

    def offer(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Whether `work` will be done, soon."""
        if len(self._tasks) >= self._most:
            return False
        task = asyncio.get_running_loop().create_task(self._do(work), name="asset-cache-chore")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def idle(self) -> None:
        """Return when everything that was offered so far is done."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def aclose(self) -> None:
        """Drop what has not been done."""
        for task in self._tasks:
            task.cancel()
        await self.idle()

    async def _do(self, work: Callable[[], Awaitable[None]]) -> None:
        async with self._turn:
            try:
                await work()
            except Exception as why:  # noqa: BLE001 - nobody waits who could be told
                _log.warning("asset_cache_chore_failed", error=type(why).__name__)
