"""The workers of one gateway: one in every place, a new one where one is lost.

A place is a worker's number and its sockets. While a place is empty the others accept on its
sockets too, so that nobody who has connected waits for a process that is being started.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

import structlog

from gateway.sockets.listeners import Sockets
from gateway.supervisor.channel import AskFailed, ChannelClosed
from gateway.supervisor.process import HandleOf, StartFailed, WorkerProcess, spawn
from gateway.supervisor.start import Start

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 30.0
STEADY_S: Final = 60.0
"""Whoever served for so long had a good start: its loss begins a new count of failures."""
STOP_GRACE_S: Final = 10.0
"""What a worker may take beyond its drain."""

_log = structlog.get_logger("supervisor")


def pause_after(failures: int) -> float:
    """How long to wait before the next start, in seconds: longer with each failure in a row.

    >>> [pause_after(failures) for failures in (1, 2, 3)]
    [0.1, 0.2, 0.4]
    >>> pause_after(100)
    30.0
    """
    return min(FIRST_PAUSE_S * 2.0 ** min(failures - 1, 16), LONGEST_PAUSE_S)


class Crew:
    """Starts workers, replaces the lost, stops them all.

    Args:
        by_place: every place's sockets.
        start_of: the committed state, for a worker of this place that is started now.
        handle: answers what workers ask.
        on_end: told each worker that is gone.

    Attributes:
        change: held while workers are started, and by whoever needs them to stay the same.
        restarts: how many workers have been replaced.
    """

    def __init__(
        self,
        by_place: Sequence[Sockets],
        environ: Mapping[str, str],
        *,
        start_of: Callable[[int, tuple[tuple[int, ...], ...]], Start],
        handle: HandleOf,
        on_end: Callable[[WorkerProcess], None],
    ) -> None:
        self.change = asyncio.Lock()
        self.restarts = 0
        self._by_place = by_place
        self._environ = environ
        self._start_of = start_of
        self._handle = handle
        self._on_end = on_end
        self._in_place: dict[int, WorkerProcess] = {}
        self._leaving: set[WorkerProcess] = set()
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def size(self) -> int:
        """How many workers there should be."""
        return len(self._by_place)

    @property
    def serving(self) -> dict[int, WorkerProcess]:
        """The workers that accept, by place."""
        return {place: one for place, one in self._in_place.items() if one.is_serving}

    @property
    def leaving(self) -> Sequence[WorkerProcess]:
        """Those that finish what they began."""
        return tuple(self._leaving)

    async def start(self) -> None:
        """Start one worker in every place.

        Raises:
            StartFailed: one of them does not start; the others are gone again.
        """
        async with self.change:
            outcomes = await asyncio.gather(
                *(self._start(place) for place in range(self.size)), return_exceptions=True
            )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                await self.kill()
                raise outcome
        for place in range(self.size):
            self._in_background(self._keep(place))

    async def stop(self, *, within_s: float) -> None:
        """Let every worker finish what runs; kill those that take longer than `within_s`."""
        self._stopping.set()
        for worker in (*self._in_place.values(), *self._leaving):
            if worker.serves.is_set():
                worker.channel.tell("stop")
            else:
                worker.terminate()
        everybody = (*self._in_place.values(), *self._leaving)
        try:
            async with asyncio.timeout(within_s + STOP_GRACE_S):
                for worker in everybody:
                    await worker.ended.wait()
        except TimeoutError:
            _log.error("workers_killed", reason="not_stopped_in_time")
        await self.kill()

    async def kill(self) -> None:
        """End every worker now."""
        self._stopping.set()
        everybody = (*self._in_place.values(), *self._leaving)
        await asyncio.gather(*(worker.kill() for worker in everybody))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _start(self, place: int) -> None:
        descriptors = tuple(tuple(one.fileno() for one in group) for group in self._by_place)
        worker = await spawn(
            self._start_of(place, descriptors),
            # A socket may stand in several places.
            dict.fromkeys(one for group in self._by_place for one in group),
            self._environ,
            self._handle,
        )
        self._in_place[place] = worker
        self._in_background(self._see_off(worker))
        if self._stopping.is_set():
            worker.terminate()  # nobody has told it: it was in no place yet
        try:
            await worker.until_serving()
        except StartFailed:
            del self._in_place[place]
            raise

    async def _see_off(self, worker: WorkerProcess) -> None:
        await worker.ended.wait()
        self._leaving.discard(worker)
        self._on_end(worker)

    async def _keep(self, place: int) -> None:
        """Put a new worker into this place whenever it is empty, until all are stopped."""
        failures = 0
        while not self._stopping.is_set():
            if (worker := self._in_place.get(place)) is not None:
                await worker.left.wait()
                if self._stopping.is_set():
                    return
                failures = self._note_lost(worker, failures)
            # Spread out, lest all of them fall on the runner again at the same moment.
            pause = pause_after(failures) * (1 + random.random() / 4) if failures else 0  # noqa: S311
            await asyncio.sleep(pause)
            async with self.change:
                if self._stopping.is_set():
                    return
                try:
                    await self._start(place)
                except (StartFailed, OSError, RuntimeError) as failed:  # the last: no thread
                    if self._stopping.is_set():  # it was told to end
                        return
                    failures += 1
                    _log.error(
                        "worker_not_started",
                        worker=place,
                        **getattr(failed, "why", {"error": type(failed).__name__}),
                        again_in_s=round(pause_after(failures), 1),
                    )
                    continue
            self.restarts += 1
            self._cover()

    def _note_lost(self, worker: WorkerProcess, failures: int) -> int:
        """Empty its place; how many failures in a row that makes."""
        del self._in_place[worker.place]
        self._cover()
        if not worker.ended.is_set():
            # It was told to go, and finishes what it has.
            self._leaving.add(worker)
            _log.info("worker_leaving", worker=worker.place, pid=worker.pid)
            return 0
        _log.error(
            "worker_lost",
            worker=worker.place,
            pid=worker.pid,
            served_s=round(worker.served_s, 3),
            **worker.end,
        )
        return 1 if worker.served_s >= STEADY_S else failures + 1

    def _cover(self) -> None:
        """Tell everybody whose sockets to accept on: their own, and those of empty places."""
        serving = self.serving
        if not serving:
            return
        places: dict[int, list[int]] = {place: [place] for place in serving}
        substitutes = sorted(serving)
        empty = (place for place in range(self.size) if place not in serving)
        for number, place in enumerate(empty):
            places[substitutes[number % len(substitutes)]].append(place)
        for place, worker in serving.items():
            worker.channel.tell("cover", places=places[place])

    async def ask(
        self, worker: WorkerProcess, verb: str, *, within_s: float, **arguments: Any
    ) -> Any:
        """A worker's answer; None when it gave none."""
        try:
            return await worker.channel.ask(verb, within_s=within_s, **arguments)
        except (ChannelClosed, TimeoutError, AskFailed):
            return None

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            # An empty place would stay empty, and nobody would know.
            _log.error("supervisor_task_failed", exc_info=failure)
