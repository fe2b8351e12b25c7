"""This process's own log lines, for whoever watches: the last ones, and those to come.

Lines are taken as they were written, after redaction. Loggers never wait for a watcher: one
that is too slow loses lines and is told how many.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from backends.runner_log import LogLine

KEPT_LINES: Final = 1000
QUEUE_LINES: Final = 512
MAX_WATCHERS: Final = 16


class TooManyWatchers(Exception):
    """MAX_WATCHERS are watching already."""


class Watcher:
    """One subscription, of one event loop.

    Attributes:
        lines: what has come and was not looked at yet.
        lost: how many lines found no place in `lines`.
    """

    def __init__(self) -> None:
        self.lines: asyncio.Queue[str | LogLine] = asyncio.Queue(QUEUE_LINES)
        self.lost = 0
        self._loop = asyncio.get_running_loop()

    def offer(self, line: str) -> None:
        """Take a line, from any thread."""
        try:
            self._loop.call_soon_threadsafe(self._put, line)
        except RuntimeError:  # the loop is closed: nobody watches any more
            return

    def _put(self, line: str) -> None:
        try:
            self.lines.put_nowait(line)
        except asyncio.QueueFull:
            self.lost += 1


class LogTap:
    """Where log lines pass by on their way out."""

    def __init__(self) -> None:
        self._recent: deque[str | bytes] = deque(maxlen=KEPT_LINES)
        self._published = 0
        self._watchers: tuple[Watcher, ...] = ()

    def publish(self, line: str | bytes) -> None:
        """One line, as JSON; bytes end with a line break. Cheap while nobody watches."""
        # The copy is as long as the line: what a serializer returns may hold kilobytes more.
        kept = line[:-1] if isinstance(line, bytes) else line
        self._recent.append(kept)
        self._published += 1
        for watcher in self._watchers:
            watcher.offer(_text(kept))

    def recent(self) -> list[str]:
        """The last lines, oldest first."""
        return [_text(line) for line in self._recent]

    def since(self, seen: int | None) -> tuple[int, list[str]]:
        """How many lines there were in all, and the kept ones after the first `seen`.

        Args:
            seen: the number that an earlier call told; None: every kept line.
        """
        lines, published = self.recent(), self._published
        if seen is None:
            return published, lines
        new = max(published - seen, 0)
        return published, lines[len(lines) - min(new, len(lines)) :]

    @contextmanager
    def watching(self) -> Iterator[Watcher]:
        """Every line from now on, for as long as the block runs.

        Raises:
            TooManyWatchers: there are sixteen already.
        """
        if len(self._watchers) >= MAX_WATCHERS:
            raise TooManyWatchers
        watcher = Watcher()
        self._watchers = (*self._watchers, watcher)
        try:
            yield watcher
        finally:
            self._watchers = tuple(each for each in self._watchers if each is not watcher)


def _text(line: str | bytes) -> str:
    return line if isinstance(line, str) else line.decode()


TAP: Final = LogTap()
"""One for the process, as its log is."""
