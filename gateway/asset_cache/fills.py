"""Files on their way in: one reader gets the bytes as they come, everybody else the file."""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Final

from backends.contract import AssetResponse, ByteStream
from backends.errors import BackendError
from gateway.asset_cache.admission import Claim
from gateway.asset_cache.bodies import Tee
from gateway.asset_cache.entry import Entry
from gateway.asset_cache.flight import Flight, Outcome

MAX_BYTES: Final = 64 * 1024 * 1024
"""How much may be on its way in, or be read by slow clients though it has been dropped; files
beyond that pass through unkept, at their client's pace."""

Keep = Callable[[bytes, str], Entry | None]
"""Told the bytes and their SHA-256 in hex; gives what is kept of them."""


class Fills:
    """The fills of one cache.

    A fill outlives the request that began it while others wait for the file, and ends with
    it otherwise: nobody would be there to keep the runner's generation alive for it.

    Args:
        still_read_bytes: what clients hold that the cache has dropped.
    """

    def __init__(self, *, still_read_bytes: Callable[[], int], max_bytes: int = MAX_BYTES) -> None:
        self._still_read_bytes = still_read_bytes
        self._max_bytes = max_bytes
        self._bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(
        self, response: AssetResponse, claim: Claim, flight: Flight, keep: Keep
    ) -> bytes | ByteStream:
        """The body to pass on; whoever gets a ByteStream must aclose() it.

        The flight is settled when the file is in, or cannot come in.
        """
        body = response.body
        if isinstance(body, bytes):
            kept = keep(body, hashlib.sha256(body).hexdigest())
            flight.settle(Outcome.NOT_KEPT if kept is None else Outcome.KEPT)
            return body
        if not self.has_room(claim.size):
            flight.settle(Outcome.NOT_KEPT)
            return body
        self._bytes += claim.size
        tee = Tee(body, size=claim.size, on_reader_left=lambda: stop_if_unwanted())
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._take_in(tee, claim, flight, keep), name="asset-cache-fill")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

        def stop_if_unwanted() -> None:
            if not tee.reader_left or tee.over or flight.waiting:
                return
            if tee.begun:
                task.cancel()
            else:  # a task that is cancelled before its first step cleans nothing up
                loop.call_soon(stop_if_unwanted)

        flight.on_deserted = stop_if_unwanted
        return tee

    async def _take_in(self, tee: Tee, claim: Claim, flight: Flight, keep: Keep) -> None:
        outcome = Outcome.NOT_KEPT
        try:
            content = await tee.take_in()
            kept = keep(content, tee.sha256)
            if kept is not None:
                outcome = Outcome.KEPT
            if not tee.reader_left:
                tee.owner = kept
        except BackendError:
            pass  # the reader hears of it, and those who wait ask for themselves
        except asyncio.CancelledError:
            outcome = Outcome.ABANDONED
            raise
        finally:
            self._bytes -= claim.size
            flight.settle(outcome)

    def has_room(self, size: int) -> bool:
        """Whether so many bytes more may come in."""
        return self._bytes + self._still_read_bytes() + size <= self._max_bytes

    async def settled(self) -> None:
        """Return when no file is on its way in."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def aclose(self) -> None:
        """Stop them all; bodies that are still coming in break off."""
        await asyncio.sleep(0)  # let those begin that have not, so that they clean up
        for task in self._tasks:
            task.cancel()
        await self.settled()
