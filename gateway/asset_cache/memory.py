"""The files that are held in memory: as many as fit, the longest unused go first."""

from collections import OrderedDict
from typing import Final
from weakref import WeakSet

from gateway.asset_cache.entry import Entry, Key

LARGEST_FILE_BYTES: Final = 8 * 1024 * 1024


class Memory:
    """A bounded map from key to entry.

    Attributes:
        used_bytes: the cost of all that is held, compressed forms included; never more than
            the bound.
        evictions: how many entries had to go for want of room, so far.
    """

    def __init__(self, max_bytes: int) -> None:
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._charged: dict[Key, int] = {}
        self._dropped: WeakSet[Entry] = WeakSet()
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self.evictions = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def largest_bytes(self) -> int:
        """The largest file that is taken in: no single one may drive most others out."""
        return min(LARGEST_FILE_BYTES, self.max_bytes // 4)

    @property
    def still_read_bytes(self) -> int:
        """The cost of entries that are no longer held here, and not yet let go by their readers."""
        return sum(entry.cost for entry in self._dropped)

    def get(self, key: Key) -> Entry | None:
        """The entry, which counts as used now."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: Key, entry: Entry) -> None:
        """Hold this entry, in place of what was there; the longest unused make room."""
        self.forget(key)
        self._dropped.discard(entry)  # two who waited for the disk may bring the same one
        self._entries[key] = entry
        self._charge(key, entry)

    def recount(self, key: Key, entry: Entry) -> None:
        """Take note that the entry has grown, if it is still held."""
        if self._entries.get(key) is entry:
            self._charge(key, entry)

    def forget(self, key: Key) -> None:
        """Drop what is held under this key, if anything is."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.used_bytes -= self._charged.pop(key)
            self._dropped.add(entry)

    def resize(self, max_bytes: int) -> None:
        """Hold no more than this from now on; 0 drops everything."""
        self.max_bytes = max_bytes
        self._make_room()

    def _charge(self, key: Key, entry: Entry) -> None:
        cost = entry.cost
        self.used_bytes += cost - self._charged.get(key, 0)
        self._charged[key] = cost
        self._make_room()

    def _make_room(self) -> None:
        while self.used_bytes > self.max_bytes:
            self.forget(next(iter(self._entries)))
            self.evictions += 1
