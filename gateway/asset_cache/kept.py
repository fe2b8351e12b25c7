"""What is kept and who may see it: memory, disk, permissions and compressed forms together."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final
from weakref import ref

import structlog

from gateway.asset_cache.admission import Claim
from gateway.asset_cache.answer import RequestFields, answer_from, lacking
from gateway.asset_cache.chores import Chores
from gateway.asset_cache.disk import Disk
from gateway.asset_cache.entry import CachedAnswer, Entry, Key
from gateway.asset_cache.grants import Caller, Grants
from gateway.asset_cache.memory import LARGEST_FILE_BYTES, Memory
from gateway.asset_cache.shelf import Shelf
from gateway.asset_cache.variants import compressed

DISK_FACTOR: Final = 8
"""How much more than the memory the folder may hold."""

_log = structlog.get_logger("asset_cache")


class KeptFiles:
    """Takes files in once they are verified, gives them out to those who are allowed them.

    Args:
        max_bytes: the most that is held in memory; 0 for nothing at all.
        folder: where files are kept besides; None for memory only.
        clock: monotonic seconds, for what expires.
    """

    def __init__(self, *, max_bytes: int, folder: Path | None, clock: Callable[[], float]) -> None:
        self.memory = Memory(max_bytes)
        self.hits = 0
        self.rejected = 0
        self._grants = Grants(clock=clock)
        self._shelf = Shelf(_disk(max_bytes, folder))
        self._chores = Chores(at_once=1, waiting=256)
        self._clock = clock
        self.epoch = 0

    def reconfigure(self, *, max_bytes: int, folder: Path | None) -> None:
        """Take other bounds, and begin an epoch in which nobody has been allowed anything."""
        self.epoch += 1
        self._grants.clear()
        self.memory.resize(max_bytes)
        self._shelf.use(_disk(max_bytes, folder))

    def try_out(self) -> None:
        """Say soon, in the log, if the folder cannot be used."""
        self._shelf.try_out()

    def now(self) -> float:
        """The moment of a runner's answer, for `allow`."""
        return self._clock()

    def hit(self, key: Key, caller: Caller) -> Entry | None:
        """The file, if it is in memory and this caller may have it."""
        entry = self.memory.get(key)
        if entry is None or not self._grants.covers(key, caller, entry.etag):
            return None
        self.hits += 1
        return entry

    def again(
        self, key: Key, caller: Caller, answer: CachedAnswer
    ) -> Callable[[], bytes | memoryview | None] | None:
        """Gives the body of `answer` while this caller may still have the same file in the same
        forms, else None. Whoever holds it holds no file: that is the memory's to decide."""
        memory, clock, epoch = self.memory, self._clock, self.epoch
        entry, until = memory.get(key), self._grants.until(key, caller)
        if entry is None or until is None or not entry.holds(answer):
            return None
        forms, entry_then, answer_then = entry.forms, ref(entry), ref(answer)

        def body() -> bytes | memoryview | None:
            kept, same = memory.get(key), answer_then()
            if (
                kept is None
                or same is None
                or kept is not entry_then()
                or kept.forms != forms
                or self.epoch != epoch
                or clock() >= until
            ):
                return None
            self.hits += 1
            return same.body

        return body

    def answer(self, key: Key, entry: Entry, fields: RequestFields) -> CachedAnswer:
        """What the file answers, to whoever asks; a compressed form is made for the next."""
        answer = answer_from(entry, fields)
        if answer is entry.whole and (coding := lacking(entry, fields.accept_encoding)) is not None:
            self._compress(key, entry, coding)
        return answer

    async def find(self, key: Key, *, has_room: Callable[[int], bool]) -> Entry | None:
        """The file from memory, or else from the disk; nobody is allowed it by that.

        Args:
            has_room: whether so many bytes may come in from the disk, as things are now.
        """
        entry = self.memory.get(key)
        if entry is not None or not has_room(self.memory.largest_bytes):
            return entry
        found = await self._shelf.load(key)
        entry = self.memory.get(key)  # as it may be by now
        if entry is not None or found is None or len(found.body) > self.memory.largest_bytes:
            return entry
        if not has_room(len(found.body)):  # others have come in meanwhile
            return None
        self.memory.put(key, found)
        return found

    def keep(self, key: Key, claim: Claim, content: bytes, sha256: str) -> Entry | None:
        """Take a file in, if it is the one that was announced.

        Args:
            sha256: of `content`, in hex.
        """
        if sha256 != claim.sha256 or len(content) != claim.size:
            self.rejected += 1
            _log.warning("asset_rejected", bundle=key[0], announced=claim.sha256, came=sha256)
            return None
        if len(content) > self.memory.largest_bytes:
            return None  # the bounds have changed since it was asked for
        entry = Entry(sha256, content, claim.fields)
        known = self.memory.get(key)
        if known is not None and (known.etag, known.fields) == (entry.etag, entry.fields):
            return known  # with its compressed forms
        self.memory.put(key, entry)
        self._shelf.store(key, entry)
        return entry

    def allow(self, key: Key, caller: Caller, entry: Entry, *, at: float, epoch: int) -> None:
        """A runner that was asked in this epoch said at this moment that the caller may."""
        if epoch == self.epoch:
            self._grants.allow(key, caller, entry.etag, answered_at=at)

    async def settled(self) -> None:
        """Return when what was begun so far is compressed and written."""
        await self._chores.idle()
        await self._shelf.written()

    async def aclose(self) -> None:
        """Drop what is not compressed or written yet."""
        await self._chores.aclose()
        await self._shelf.aclose()

    def _compress(self, key: Key, entry: Entry, coding: str) -> None:
        entry.variants[coding] = None  # under way, and nobody else need begin

        async def work() -> None:
            made = await asyncio.to_thread(compressed, coding, entry.body)
            if made is not None:
                entry.add_variant(coding, made)
                self.memory.recount(key, entry)

        if not self._chores.offer(work):
            del entry.variants[coding]


def _disk(max_bytes: int, folder: Path | None) -> Disk | None:
    if folder is None or not max_bytes:
        return None
    return Disk(folder, max_bytes=max_bytes * DISK_FACTOR, largest=LARGEST_FILE_BYTES)
