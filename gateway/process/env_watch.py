"""A change of the env file counts as the signal to reload.

Where nobody can send a signal, as in a pod whose ConfigMap was edited, this process sends it
to itself. It looks at intervals: a mounted ConfigMap is replaced by way of a symbolic link two
folders up, which file notifications do not tell reliably. A change counts once the file has
stayed as it is from one look to the next: half a file is valid, and the rest at its default.
"""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import structlog

from gateway.settings import Settings

_log = structlog.get_logger("env_watch")

_Stamp = tuple[int, int, int]


class EnvWatch:
    """Watches from `start` to `stop`, and does nothing when that is not wanted.

    Args:
        settings: say whether, and which file. What the file is like is noted now, so make
            this right after they were read.
    """

    def __init__(self, settings: Settings) -> None:
        self._interval_s = settings.env_watch_s
        self._path = settings.env_file if self._interval_s else None
        self._seen = self._last = None if self._path is None else _stamp(self._path)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look at the file from now on."""
        if self._path is not None:
            self._task = asyncio.create_task(self._watch(), name="env-watch")

    def stop(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()

    def look(self) -> bool:
        """Whether the file has changed, and is as it was at the last look. Blocking."""
        if self._path is None:
            return False
        before, self._last = self._last, _stamp(self._path)
        # A file that is being replaced is not there for a moment.
        if self._last is None or self._last == self._seen or self._last != before:
            return False
        self._seen = self._last
        return True

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            if await asyncio.to_thread(self.look):
                _log.info("env_file_changed")
                os.kill(os.getpid(), signal.SIGHUP)


def _stamp(path: Path) -> _Stamp | None:
    with suppress(OSError):
        status = os.stat(path)
        return status.st_ino, status.st_mtime_ns, status.st_size
    return None
