"""Who was allowed which file, by a runner, and not long ago.

The bytes of a file are the same for everyone; the right to see them is not. A kept file is
given only to a caller whom a runner answered for it, and only for as long as a runner itself
goes by its registry's word. After that the runner is asked again, so a tenant who lost an
extension loses its files too.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from gateway.asset_cache.entry import Key

LIFETIME_S: Final = 45.0
MAX_GRANTS: Final = 16_384

Caller = tuple[str, str | None]
"""(extension id, tenant): what a runner decides by."""


class Grants:
    """A bounded, expiring list of permissions; beyond the bound the oldest go first.

    Args:
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        lifetime_s: float = LIFETIME_S,
        max_grants: int = MAX_GRANTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lifetime_s = lifetime_s
        self._max_grants = max_grants
        self._clock = clock
        self._until: OrderedDict[tuple[Key, Caller], tuple[str, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def allow(self, key: Key, caller: Caller, etag: str, *, answered_at: float) -> None:
        """A runner said at `answered_at` that this caller may see the file with this tag."""
        self._until[key, caller] = (etag, answered_at + self._lifetime_s)
        self._until.move_to_end((key, caller))
        if len(self._until) > self._max_grants:
            self._until.popitem(last=False)

    def covers(self, key: Key, caller: Caller, etag: str) -> bool:
        """Whether this caller may see the file with this tag now."""
        granted = self._until.get((key, caller))
        if granted is None:
            return False
        if granted[1] <= self._clock():
            del self._until[key, caller]
            return False
        return granted[0] == etag

    def until(self, key: Key, caller: Caller) -> float | None:
        """When this caller has to be asked about again; None when that is now."""
        granted = self._until.get((key, caller))
        return None if granted is None else granted[1]

    def clear(self) -> None:
        """Ask a runner about everyone again."""
        self._until.clear()
