"""A change of the env file counts as the signal to reload.

Where nobody can send a signal, as in a pod whose ConfigMap was edited, this process sends it
to itself. It looks at intervals: a mounted ConfigMap is replaced by way of a symbolic link two
folders up, which file notifications do not tell reliably.
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
        self._seen = None if self._path is None else _stamp(self._path)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look at the file from now on."""
        if self._path is not None:
            self._task = asyncio.create_task(self._watch(self._path), name="env-watch")

    def stop(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()

    async def _watch(self, path: Path) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            now = await asyncio.to_thread(_stamp, path)
            if now is None or now == self._seen:
                continue  # a file that is being replaced is not there for a moment
            self._seen = now
            _log.info("env_file_changed")
            os.kill(os.getpid(), signal.SIGHUP)


def _stamp(path: Path) -> _Stamp | None:
    with suppress(OSError):
        status = os.stat(path)
        return status.st_ino, status.st_mtime_ns, status.st_size
    return None
