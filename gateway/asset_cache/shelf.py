"""The disk behind the memory, as the event loop sees it: nothing here is waited for long.

A disk that fails or hangs is left alone for a while. The cache is then smaller; no request
is slower for more than LOAD_S, and none fails.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import structlog

from gateway.asset_cache.chores import Chores
from gateway.asset_cache.disk import Disk
from gateway.asset_cache.entry import Entry, Key
from gateway.variables.unusable import words_of

LOAD_S: Final = 1.0
STORE_S: Final = 30.0
REST_S: Final = 60.0
MAX_UNWRITTEN_BYTES: Final = 32 * 1024 * 1024

_FAILURES: Final = (OSError, TimeoutError, RuntimeError)  # the last: there is no thread for it

_log = structlog.get_logger("asset_cache")


class Shelf:
    """Loads and stores in threads of its own, so that a hanging disk holds up nobody else.

    Args:
        disk: None for none.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        disk: Disk | None = None,
        *,
        load_s: float = LOAD_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._disk = disk
        self._load_s = load_s
        self._clock = clock
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="asset-cache-disk")
        self._chores = Chores(at_once=1, waiting=1024)
        self._loading: dict[Key, asyncio.Future[Entry | None]] = {}
        self._unwritten_bytes = 0
        self._resting_until = 0.0

    def use(self, disk: Disk | None) -> None:
        """Load from and store to this one from now on."""
        self._disk = disk
        self._resting_until = 0.0
        self.try_out()

    def try_out(self) -> None:
        """Say soon if files cannot be put there, instead of when the first one comes.

        It is used all the same: a folder that can only be read may hold what is asked for.
        """
        disk = self._disk
        if disk is None:
            return

        async def open_it() -> None:
            try:
                await self._within_time(disk.open)
            except _FAILURES as why:
                _log.warning("asset_cache_disk_failed", **_facts(why))

        self._chores.offer(open_it)

    async def load(self, key: Key) -> Entry | None:
        """The file, if the disk has it and says so soon. Several askers are one question."""
        if self._disk is None or self._clock() < self._resting_until:
            return None
        try:
            loading = self._loading.get(key)
            if loading is None:
                loop = asyncio.get_running_loop()
                loading = loop.run_in_executor(self._threads, self._disk.load, key)
                self._loading[key] = loading
                loading.add_done_callback(lambda done: self._loaded(key, done))
            async with asyncio.timeout(self._load_s):
                return await asyncio.shield(loading)
        except _FAILURES as why:
            self._rest(why)
            return None

    def store(self, key: Key, entry: Entry) -> None:
        """Write the file soon, unless too much is waiting to be written."""
        disk, size = self._disk, len(entry.body)
        if disk is None or self._clock() < self._resting_until:
            return
        if self._unwritten_bytes + size > MAX_UNWRITTEN_BYTES:
            return

        async def write() -> None:
            try:
                await self._within_time(partial(disk.store, key, entry))
            except _FAILURES as why:
                self._rest(why)
            finally:
                self._unwritten_bytes -= size

        if self._chores.offer(write):
            self._unwritten_bytes += size

    async def written(self) -> None:
        """Return when everything that was stored so far is on the disk, or given up."""
        await self._chores.idle()

    async def aclose(self) -> None:
        """Drop what is not written yet."""
        await self._chores.aclose()
        self._threads.shutdown(wait=False)

    async def _within_time(self, work: Callable[[], None]) -> None:
        async with asyncio.timeout(STORE_S):
            await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _loaded(self, key: Key, done: asyncio.Future[Entry | None]) -> None:
        del self._loading[key]
        if not done.cancelled():
            done.exception()  # whoever waited has seen it; nobody may have waited

    def _rest(self, why: Exception) -> None:
        if self._clock() >= self._resting_until:
            _log.warning("asset_cache_disk_failed", **_facts(why), resting_s=REST_S)
        self._resting_until = self._clock() + REST_S


def _facts(why: Exception) -> dict[str, str]:
    return {
        "variable": "GATEWAY_ASSET_CACHE_DIR",
        "error": type(why).__name__,
        "detail": words_of(why) or "no answer in time",
    }
