"""Supervises one guest process: restarts it when it ends, kills it when it hangs."""

import asyncio
import socket
import time
from collections.abc import Mapping
from typing import Final

import structlog

from backends.errors import Phase
from backends.exit_status import as_logged
from backends.guest_processes.process import GuestProcess, ProcessTask, StartProcess
from backends.settings import EmbeddedSettings, Timeouts
from backends.upstream.address import RunnerAddress
from backends.upstream.open import open_transport
from backends.upstream.runner_client import RunnerClient

BACKLOG: Final = 1024
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 5.0
STEADY_S: Final = 30.0
"""After this long in service an end counts as an accident: the pause starts over."""

ASKED_EVERY_S: Final = 5.0
SILENT_AFTER: Final = 3
"""It is taken to hang after so many probes in a row without an answer: load may cost one."""

_NO_LIMIT_S: Final = 24 * 3600.0
# A guest may be silent for as long as its call may take, as in this process: the call's own
# budget ends it.
_TIMEOUTS: Final = Timeouts(connect_s=2.0, first_byte_s=_NO_LIMIT_S, idle_s=_NO_LIMIT_S)

_SILENT: Final = frozenset(f"{phase}_timeout" for phase in Phase)

_log = structlog.get_logger("backends.guest_processes")


class Place:
    """Keeps a guest process running: starts another when one has ended, ends one that hangs.

    The listening socket belongs to this object, so the address never changes, and a connection
    that came too late for one process is accepted by the next.

    Attributes:
        client: speaks to whichever runs now.
        serving: set while one runs.
        restarts: how many have ended unasked.
        turn: when it was chosen last; the owner's to set.
    """

    def __init__(
        self, number: int, settings: EmbeddedSettings, token: str, start: StartProcess
    ) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._listener.setblocking(False)
        host, port = self._listener.getsockname()
        address = RunnerAddress.parse(f"http://{host}:{port}")
        self._task = ProcessTask(
            place=number, settings=settings, listener=self._listener, token=token
        )
        self._start = start
        self._process: GuestProcess | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._pause_s = FIRST_PAUSE_S
        self.client = RunnerClient(
            open_transport(address), address, public_base=settings.public_base, timeouts=_TIMEOUTS
        )
        self.serving = asyncio.Event()
        self.restarts = 0
        self.turn = 0

    async def open(self) -> None:
        """Start the first process. Raises ProcessNotStarted."""
        process = await self._started()
        self._keeping = asyncio.create_task(self._keep(process), name="guest-process")

    def facts(self) -> dict[str, object]:
        """What an operator wants to see."""
        return {
            "pid": self._process.pid if self._process and self.serving.is_set() else None,
            "restarts": self.restarts,
            "calls": self.client.stats().connections_in_use,
        }

    async def aclose(self) -> None:
        """End the process; calls still running there fail with a BackendError."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait((self._keeping,))
        self.serving.clear()
        await self.client.aclose()
        if self._process is not None:
            await self._process.stop()
        self._listener.close()

    async def _started(self) -> GuestProcess:
        process = self._process = await self._start(self._task)
        self.serving.set()
        return process

    async def _keep(self, process: GuestProcess) -> None:
        while True:
            began = time.monotonic()
            why = await self._end_of(process)
            self.serving.clear()
            await process.stop()  # what is left of it here
            self.restarts += 1
            _log.error("guest_process_ended", place=self._task.place, **why)
            if time.monotonic() - began >= STEADY_S:
                self._pause_s = FIRST_PAUSE_S
            process = await self._successor()

    async def _end_of(self, process: GuestProcess) -> Mapping[str, object]:
        """Wait until it ends, or kill it once it has fallen silent; returns what the log says."""
        ended = asyncio.create_task(process.ended())
        silent = asyncio.create_task(self._silence())
        try:
            await asyncio.wait((ended, silent), return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                _log.error("guest_process_silent", place=self._task.place)
                process.kill()
                return {"status": await ended}
            return as_logged(await ended)
        finally:
            ended.cancel()
            silent.cancel()

    async def _silence(self) -> None:
        """Wait until it has left SILENT_AFTER probes in a row unanswered."""
        unanswered = 0
        while unanswered < SILENT_AFTER:
            await asyncio.sleep(ASKED_EVERY_S)
            health = await self.client.health()
            unanswered = unanswered + 1 if health.detail in _SILENT else 0

    async def _successor(self) -> GuestProcess:
        while True:
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
            try:
                return await self._started()
            except Exception as failure:  # noqa: BLE001 - the next try may go well
                _log.error(
                    "guest_process_not_started",
                    place=self._task.place,
                    error=type(failure).__name__,
                )


async def any_serving(places: tuple[Place, ...], within_s: float) -> bool:
    """Wait until one of them serves; False when none does in time."""
    waits = [asyncio.create_task(place.serving.wait()) for place in places]
    try:
        done, _ = await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
    return bool(done)
