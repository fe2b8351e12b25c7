"""One request to the runner that several callers wait for (a "single flight")."""

import asyncio
from collections.abc import Callable
from enum import Enum


class Outcome(Enum):
    KEPT = "kept"  # look again: the file is there, or the caller is allowed it
    NOT_KEPT = "not_kept"  # it was no use to anyone else: ask for yourself
    ABANDONED = "abandoned"  # whoever asked went away: somebody else may take over


class Flight:
    """Settled once, by whoever asks; waited for by any number of others.

    Args:
        on_settled: called at once when it is settled, before anyone who waits goes on.

    Attributes:
        waiting: how many wait.
        on_deserted: called when the last of them has gone.
    """

    def __init__(self, *, on_settled: Callable[[], None]) -> None:
        self._settled: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._on_settled = on_settled
        self.on_deserted: Callable[[], None] = lambda: None
        self.waiting = 0

    def settle(self, outcome: Outcome) -> None:
        """Tell everybody; only the first time counts."""
        if not self._settled.done():
            self._settled.set_result(outcome)
            self._on_settled()

    async def outcome(self, *, within_s: float) -> Outcome:
        """Wait for it; NOT_KEPT when that takes too long."""
        self.waiting += 1
        try:
            async with asyncio.timeout(within_s):
                return await asyncio.shield(self._settled)
        except TimeoutError:
            return Outcome.NOT_KEPT
        finally:
            self.waiting -= 1
            if self.waiting == 0:
                self.on_deserted()
