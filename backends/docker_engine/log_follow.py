"""The log of every container of the service as one stream, through restarts and rebuilds.

The engine ends a log when its container stops, and every stream when it stops itself. Reading
then goes on where it was: from the instant of the last line, without that line.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from backends.docker_engine.candidates import Candidate
from backends.docker_engine.client import EngineError
from backends.docker_engine.log_frames import LogDecoder, LogFramingError
from backends.docker_engine.watch import ContainerWatch, Snapshot
from backends.runner_log import LogLine

QUEUE_LINES: Final = 256
BACKOFF_S: Final = (0.2, 5.0)

_FRACTION = re.compile(r"\.(\d{1,9})")


@dataclass(slots=True)
class LogCursor:
    """How far a container's log has been read.

    Lines of the same instant are counted: the engine resumes at an instant, not at a line.
    """

    at: str = ""
    lines: int = 0
    _seen: int = 0  # of the lines at that instant, since the last resumption

    def resumes(self) -> str | None:
        """Where to read on, as the engine wants it; None from the beginning."""
        self._seen = 0
        return since(self.at) if self.at else None

    def is_new(self, line: LogLine) -> bool:
        """Whether this line comes after all that were there before; counts it if so."""
        if line.at == self.at and self.at:
            self._seen += 1
            if self._seen <= self.lines:
                return False
        if line.at != self.at:
            self.at, self.lines, self._seen = line.at, 0, 1
        self.lines += 1
        return True


def since(instant: str) -> str:
    """An RFC 3339 instant as "seconds.nanoseconds" since the epoch.

    >>> since("2026-11-23T14:05:00.000000001Z"), since("2026-11-23T15:05:00+01:00")
    ('1795442700.000000001', '1795442700.000000000')
    """
    fraction = _FRACTION.search(instant)
    whole = datetime.fromisoformat(_FRACTION.sub("", instant).replace("Z", "+00:00"))
    nanoseconds = (fraction[1] if fraction else "").ljust(9, "0")
    return f"{int(whole.astimezone(UTC).timestamp())}.{nanoseconds}"


async def follow_logs(
    watch: ContainerWatch, *, follow: bool, tail: int | None
) -> AsyncGenerator[LogLine, None]:
    """Every container's lines as they come; lines of one container stay in order.

    A slow reader holds the engine up instead of filling memory. Ends when the watch is closed
    or, without `follow`, when everything written so far was read.

    Args:
        tail: how many of each container's last lines to begin with; None for all.
    """
    queue: asyncio.Queue[LogLine] = asyncio.Queue(QUEUE_LINES)
    reading = asyncio.create_task(
        _read_all(watch, queue, follow=follow, tail=tail), name="docker-logs"
    )
    try:
        while True:
            waiting = asyncio.create_task(queue.get())
            try:
                await asyncio.wait([waiting, reading], return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not waiting.done():
                    waiting.cancel()
            if not waiting.done():
                break
            yield waiting.result()
        while not queue.empty():
            yield queue.get_nowait()
    finally:
        reading.cancel()
        await asyncio.wait([reading])


async def _read_all(
    watch: ContainerWatch, queue: asyncio.Queue[LogLine], *, follow: bool, tail: int | None
) -> None:
    """One reader for each container, those that come later included."""
    async with asyncio.TaskGroup() as readers:
        known: set[str] = set()
        while not watch.closed:
            for each in watch.snapshot.candidates:
                if each.container_id not in known:
                    reader = _Reader(watch, each, queue)
                    readers.create_task(reader.run(follow=follow, tail=tail))
            known = {each.container_id for each in watch.snapshot.candidates}
            if not follow:
                return
            tail = None  # of a container that comes now, nothing has been seen
            await watch.next_change()


class _Reader:
    """Reads one container's log until the container is removed."""

    def __init__(
        self, watch: ContainerWatch, candidate: Candidate, queue: asyncio.Queue[LogLine]
    ) -> None:
        self._watch = watch
        self._candidate = candidate
        self._queue = queue
        self._cursor = LogCursor()

    async def run(self, *, follow: bool, tail: int | None) -> None:
        pause_s, longest_s = BACKOFF_S
        while not self._watch.closed:
            before = self._cursor.at
            with contextlib.suppress(EngineError, LogFramingError):  # both end the stream
                await self._read_once(follow=follow, tail=tail)
            if not follow:
                return
            if self._cursor.at != before:
                pause_s = BACKOFF_S[0]
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, longest_s)
            while (now := self._now(self._watch.snapshot)) is not None and not now.running:
                await self._watch.next_change()
                if self._watch.closed:
                    return
            if now is None:
                return

    def _now(self, snapshot: Snapshot) -> Candidate | None:
        same = (e for e in snapshot.candidates if e.container_id == self._candidate.container_id)
        return next(same, None)

    async def _read_once(self, *, follow: bool, tail: int | None) -> None:
        decoder = LogDecoder(tty=self._candidate.tty)
        resumes = self._cursor.resumes()
        chunks = self._watch.engine.logs(
            self._candidate.container_id,
            follow=follow,
            since=resumes,
            tail=tail if resumes is None else None,
        )
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                await self._put(decoder.feed(chunk))
        await self._put(decoder.end())

    async def _put(self, lines: list[LogLine]) -> None:
        for line in lines:
            if self._cursor.is_new(line):
                await self._queue.put(replace(line, container=self._candidate.name))
