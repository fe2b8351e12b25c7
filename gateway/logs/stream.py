"""The gateway's lines and the runner's as one stream of events, told apart by `source`.

Both name the request that they speak of, so that a request's id finds its way through both.
"""

import asyncio
import os
import re
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Final

import orjson

from backends.contract import RunnerBackend
from backends.runner_log import KeepsLog, LogLine
from gateway.fleet import Report
from gateway.logs.tap import LogTap, Watcher
from middleware.redaction import Redactor

TICK_S: Final = 1.0

_TS = re.compile(r'"ts":"([^"]{1,40})"')


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """One line of either log."""

    source: str  # "gateway" or "runner"
    ts: str  # RFC 3339, by the clock of whoever wrote it
    text: str
    container: str | None = None
    stream: str | None = None
    truncated: bool = False

    def as_json(self) -> bytes:
        return orjson.dumps({k: v for k, v in asdict(self).items() if v not in (None, False)})


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """Which lines a reader wants to see."""

    follow: bool
    tail: int  # lines of each log to begin with
    request_id: str | None  # lines that name this request alone


class OthersLines:
    """What the other processes of a gateway have written, a part at a time.

    Args:
        ask: what each process has written after the lines that were `seen` of it, by process
            id (the report "log").
    """

    def __init__(self, ask: Callable[[dict[int, int]], Awaitable[Sequence[Report]]]) -> None:
        self._ask = ask
        self._seen: dict[int, int] = {}

    async def new(self) -> list[str]:
        """The lines that were not told before; at first, all that are kept."""
        found: list[str] = []
        for report in await self._ask(self._seen):
            if report.pid is None or report.is_missing or report.pid == os.getpid():
                continue
            self._seen[report.pid], lines = report.said
            found += lines
        return found


class LogStream:
    """Reads both logs.

    Args:
        current: the backend that serves now; asked again after a swap.
        secrets: values that are masked wherever they stand, in the runner's lines too.
        others: what the other processes of this gateway have written, when there are any.
    """

    def __init__(
        self,
        tap: LogTap,
        current: Callable[[], RunnerBackend],
        secrets: Callable[[], frozenset[str]],
        others: OthersLines | None = None,
    ) -> None:
        self._tap = tap
        self._others = others
        self._current = current
        self._redact = Redactor(secrets)

    async def so_far(self, query: LogQuery) -> list[LogEvent]:
        """What was written up to now, in the order of time."""
        found = await self._ours_so_far(query)
        backend = self._current()
        if isinstance(backend, KeepsLog):
            tail = None if query.request_id else query.tail
            theirs: deque[LogEvent] = deque(maxlen=query.tail)
            async with aclosing(backend.log_lines(follow=False, tail=tail)) as lines:
                async for line in lines:
                    if _names(line.text, query):
                        theirs.append(self._of_runner(line))
            found += theirs
        return sorted(found, key=lambda event: event.ts)

    async def to_come(self, query: LogQuery) -> AsyncGenerator[LogEvent | None, None]:
        """The last lines of each log, then events as they happen; None when a second passed
        without one. Goes on through swaps; close the generator.

        Raises:
            TooManyWatchers: as many as may are watching already.
        """
        with self._tap.watching() as watcher:
            for event in await self._ours_so_far(query):
                yield event
            reading = [asyncio.create_task(self._read_runner(watcher, query.tail))]
            if self._others is not None:
                reading.append(asyncio.create_task(self._read_others(watcher, self._others)))
            try:
                async for item in self._arriving(watcher):
                    if item is None or _names(item.text, query):
                        yield item
            finally:
                for task in reading:
                    task.cancel()
                await asyncio.wait(reading)

    async def _ours_so_far(self, query: LogQuery) -> list[LogEvent]:
        """The last lines of the gateway, of all its processes."""
        lines = self._tap.recent()
        if self._others is not None:
            lines += await self._others.new()
        ours = [_of_gateway(line) for line in lines if _names(line, query)]
        if self._others is not None:
            ours.sort(key=lambda event: event.ts)
        return ours[len(ours) - min(len(ours), query.tail) :]

    async def _read_others(self, watcher: Watcher, others: OthersLines) -> None:
        """Look once in a while what other processes have written."""
        while True:
            await asyncio.sleep(TICK_S)
            for line in await others.new():
                await watcher.lines.put(line)

    async def _arriving(self, watcher: Watcher) -> AsyncGenerator[LogEvent | None, None]:
        lost = 0
        while True:
            try:
                async with asyncio.timeout(TICK_S):
                    item = await watcher.lines.get()
            except TimeoutError:
                yield None
                continue
            if watcher.lost > lost:
                text = (
                    f"{watcher.lost - lost} lines were lost: they came faster than they were read"
                )
                yield LogEvent(source="gateway", ts="", text=text)
                lost = watcher.lost
            yield self._of_runner(item) if isinstance(item, LogLine) else _of_gateway(item)

    async def _read_runner(self, watcher: Watcher, tail: int) -> None:
        """Holds the runner's log up, rather than losing lines, while nobody reads."""
        while True:
            backend = self._current()
            if isinstance(backend, KeepsLog):
                async with aclosing(backend.log_lines(follow=True, tail=tail)) as lines:
                    async for line in lines:
                        await watcher.lines.put(line)
            tail = 0  # of the next generation: the same containers may be behind it
            # A swap tells nobody that it happened.
            while self._current() is backend:  # noqa: ASYNC110
                await asyncio.sleep(TICK_S)

    def _of_runner(self, line: LogLine) -> LogEvent:
        cleaned = self._redact(None, "", {"text": line.text})
        return LogEvent(
            source="runner",
            ts=line.at,
            text=str(cleaned["text"]),
            container=line.container,
            stream=line.stream,
            truncated=line.truncated,
        )


def _of_gateway(line: str) -> LogEvent:
    ts = _TS.search(line)
    return LogEvent(source="gateway", ts=ts[1] if ts else "", text=line)


def _names(text: str, query: LogQuery) -> bool:
    return query.request_id is None or query.request_id in text
