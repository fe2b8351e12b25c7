"""Queues the durations of ended requests until somebody counts them, at eight bytes each."""

import math
from array import array
from collections import deque
from collections.abc import Callable, Iterator

Add = Callable[[float], None]
"""Takes the duration in ms of a request that has just ended."""

_Kind = tuple[str, str | None, bool]


class EndedSecond:
    """What ended within one second: durations by route, extension, and whether it failed."""

    __slots__ = ("_durations_ms", "adders", "at")

    def __init__(self, at: int) -> None:
        self.at = at
        self.adders: dict[_Kind, Add] = {}
        self._durations_ms: dict[_Kind, array[float]] = {}

    def adder(self, kind: _Kind) -> Add:
        """A function that adds the duration of a request of this kind."""
        durations_ms = self._durations_ms[kind] = array("d")
        add = self.adders[kind] = durations_ms.append
        return add

    def __len__(self) -> int:
        return sum(map(len, self._durations_ms.values()))

    def __iter__(self) -> Iterator[tuple[str, str | None, float, bool]]:
        for (route, extension, is_error), durations_ms in self._durations_ms.items():
            for duration_ms in durations_ms:
                yield route, extension, duration_ms, is_error


class Uncounted:
    """A queue of seconds, the oldest first.

    Args:
        at_most: requests in it when a second begins; the oldest seconds beyond are forgotten.

    Attributes:
        newest: the second that is still going on, if anything has ended in it.
        until: when it is over.
        known_from: the first second of which nothing was forgotten.
    """

    __slots__ = ("_at_most", "_seconds", "known_from", "newest", "until")

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._seconds: deque[EndedSecond] = deque()
        self.newest = EndedSecond(0)
        self.until = -math.inf
        self.known_from = 0

    def begin(self, now: float) -> None:
        """Go on to the second of `now`, which is `until` or later."""
        # Looked at once a second and not for every request: what ends within one is not much.
        room = self._at_most - sum(map(len, self._seconds))
        while room <= 0 and self._seconds:
            forgotten = self._seconds.popleft()
            room += len(forgotten)
            self.known_from = forgotten.at + 1
        self.newest = EndedSecond(math.floor(now))
        self._seconds.append(self.newest)
        self.until = self.newest.at + 1

    def take(self, before: int) -> EndedSecond | None:
        """The oldest second, when it is over before second `before` begins."""
        if not self._seconds or self._seconds[0].at >= before:
            return None
        return self._seconds.popleft()
