"""Hears of every finished request, at a price that does not show while nobody looks.

What the access log hands out is put aside as it is, in queues with an end. It is counted and
sorted when somebody asks: a gateway without an open console does no more than append.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.console.uncounted import Uncounted
from gateway.console.window import Window
from middleware.access_log import ANSWERED, Entry, Sink

MAX_UNCOUNTED: Final = 20_000
MAX_LINES: Final = 1_000
MAX_FAILURES: Final = 1_000
MAX_SLOW: Final = 200
SLOW_MS: Final = 1_000.0
_AT_ONCE: Final = 200  # counted between two looks at other work: under a millisecond

OWN_ROUTES: Final = frozenset(
    {
        "/gateway/",
        "/gateway/static/console/{name}",
        "/gateway/v1/console/snapshot",
        "/gateway/v1/console/live",
        "/gateway/v1/console/lines",
    }
)
"""Left out, or an open console would mostly show itself."""

_Kept = tuple[float, str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Line:
    """One finished request as it was logged."""

    at: float  # seconds since the epoch
    event: str
    fields: dict[str, Any]

    @property
    def code(self) -> str:
        """What went wrong: the problem's code, else the guest's own status, else why it broke."""
        error, status = self.fields.get("error"), self.fields.get("status")
        if error is not None:
            return str(error)
        if self.event == ANSWERED and "truncated" not in self.fields and status is not None:
            return f"answered_{status}"
        return str(self.fields.get("reason", "abandoned"))


class Observer:
    """The console's memory of requests.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._uncounted = Uncounted(MAX_UNCOUNTED)
        self._lines: deque[_Kept] = deque(maxlen=MAX_LINES)
        self._failures: deque[_Kept] = deque(maxlen=MAX_FAILURES)
        self._slow: deque[_Kept] = deque(maxlen=MAX_SLOW)
        self._counting = asyncio.Lock()
        self.window = Window(math.ceil(clock()))

    def around(self, sink: Sink) -> Sink:
        """`sink`, heard by this observer. Takes about a microsecond a line, never waits."""
        uncounted, lines = self._uncounted, self._lines.append

        def observe(entries: Sequence[Entry]) -> None:
            sink(entries)
            if (now := self._clock()) >= uncounted.until:
                uncounted.begin(now)
            newest = uncounted.newest
            for at, level, event, line in entries:
                route: Any = line["route"]
                if route in OWN_ROUTES:
                    continue
                duration_ms: Any = line["duration_ms"]
                # Where the log warns, the gateway or an extension is to blame.
                is_error = level == "warning"
                extension: Any = line.get("extension")
                kind = (route, extension, is_error)
                add = newest.adders.get(kind) or newest.adder(kind)
                add(duration_ms)
                kept = (at, event, line)
                lines(kept)
                status: Any = line.get("status", 599)
                if is_error or event != ANSWERED or status >= 400:
                    self._failures.append(kept)
                if duration_ms >= SLOW_MS:
                    self._slow.append(kept)

        return observe

    async def count(self) -> None:
        """Bring `window` up to the last whole second, in steps that let others work."""
        async with self._counting:
            now = math.floor(self._clock())
            self.window.restart(self._uncounted.known_from)
            counted = 0
            while (second := self._uncounted.take(now)) is not None:
                for route, extension, duration_ms, is_error in second:
                    self.window.count(second.at, route, extension, duration_ms, is_error=is_error)
                    counted += 1
                    if counted % _AT_ONCE == 0:
                        await asyncio.sleep(0)
            self.window.slide_to(now)

    def lines(self) -> Iterator[Line]:
        """What is remembered of the log, the newest first."""
        return map(_line, reversed(self._lines))

    def failures(self) -> Iterator[Line]:
        """Refused, failed, broken off and abandoned requests, the newest first."""
        return map(_line, reversed(self._failures))

    def slow(self) -> Iterator[Line]:
        """Requests that took SLOW_MS or more, the newest first."""
        return map(_line, reversed(self._slow))


def _line(kept: _Kept) -> Line:
    return Line(*kept)
