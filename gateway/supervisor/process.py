"""One worker, as its supervisor sees it."""

import asyncio
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from backends.exit_status import as_logged
from gateway.supervisor.channel import Channel
from gateway.supervisor.start import START_S, Start

_KILLED_S: Final = 5.0
_LAST_WORDS_S: Final = 1.0


class StartFailed(Exception):
    """A worker ended, or took too long, before it served.

    Attributes:
        why: what a log line says of it; the worker's own words, if it had any.
    """

    def __init__(self, reason: str, end: Mapping[str, object], said: Mapping[str, str]) -> None:
        super().__init__(reason)
        self.why: Mapping[str, object] = said or {"error": reason, **end}


class WorkerProcess:
    """A process and its channel.

    Attributes:
        place: which worker it is.
        serves: set once it accepts.
        left: set once it accepts no more, because it said so or because it ended.
        ended: set once the process is gone.
        said: why it does not start, if it told.
    """

    def __init__(self, place: int, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self.place = place
        self.channel = channel
        self.serves = asyncio.Event()
        self.left = asyncio.Event()
        self.ended = asyncio.Event()
        self.said: Mapping[str, str] = {}
        self._process = process
        self._is_killed = False
        self._served_since = 0.0
        self._waiting = asyncio.create_task(self._wait(), name=f"worker-{place}")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def end(self) -> Mapping[str, object]:
        """What a log line says of its end: the exit status, negative for a signal."""
        status = self._process.returncode
        return {"status": status} if self._is_killed else as_logged(status)

    @property
    def is_serving(self) -> bool:
        return self.serves.is_set() and not self.left.is_set()

    @property
    def served_s(self) -> float:
        """For how long it has served."""
        return time.monotonic() - self._served_since if self.serves.is_set() else 0.0

    def note_serving(self) -> None:
        """It accepts."""
        self._served_since = time.monotonic()
        self.serves.set()

    async def until_serving(self) -> None:
        """Wait until it accepts. Raises StartFailed, and then it is gone."""
        waits = [asyncio.create_task(each.wait()) for each in (self.serves, self.ended)]
        try:
            await asyncio.wait(waits, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        if self.ended.is_set():
            raise StartFailed("worker_ended", self.end, self.said)
        if not self.serves.is_set():
            await self.kill()
            raise StartFailed("worker_not_ready_in_time", {}, self.said)

    def terminate(self) -> None:
        """Ask it to end; one that does not serve yet ends at once."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    async def kill(self) -> None:
        """End it now."""
        self._is_killed = True
        with suppress(ProcessLookupError):
            self._process.kill()
        with suppress(TimeoutError):
            async with asyncio.timeout(_KILLED_S):
                await self.ended.wait()

    async def _wait(self) -> None:
        await self._process.wait()
        if not self.serves.is_set():
            with suppress(TimeoutError):  # its last words may still be on the way
                async with asyncio.timeout(_LAST_WORDS_S):
                    await self.channel.closed.wait()
        self.ended.set()
        self.left.set()
        await self.channel.aclose()


HandleOf = Callable[[WorkerProcess, str, dict[str, Any]], Awaitable[Any]]
"""Answers what a worker asks."""


async def spawn(
    start: Start, sockets: Iterable[socket.socket], environ: Mapping[str, str], handle: HandleOf
) -> WorkerProcess:
    """Start a worker, and tell it what it has to know.

    Args:
        sockets: everything that `start` names by its descriptor.
    """
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with its:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway.supervisor.worker",
            str(its.fileno()),
            env=dict(environ),
            pass_fds=[its.fileno(), *(one.fileno() for one in sockets)],
            # What a terminal sends to the foreground is the supervisor's to pass on.
            start_new_session=True,
        )

    async def answer(verb: str, arguments: dict[str, Any]) -> Any:
        if verb == "not_started":
            worker.said = arguments["why"]
            return None
        return await handle(worker, verb, arguments)

    channel = Channel(mine, answer)
    worker = WorkerProcess(start.place, process, channel)
    await channel.open()
    channel.greet(start)
    return worker
