"""The process above the workers: it opens the port, starts them, and decides about reloads.

It serves nothing itself, so that nothing a request does can harm it.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

import structlog

from gateway.done_before import done_before
from gateway.generations.receipts import Receipts
from gateway.ignored_variables import Ignored
from gateway.logs.process import ProcessLogs
from gateway.process import asking_signals
from gateway.process.env_watch import EnvWatch
from gateway.process.loop_runner import loop_runner
from gateway.process.orphans import let_orphans_go
from gateway.process.version import VERSION
from gateway.reload import Reloader
from gateway.settings import Settings, load
from gateway.sockets.hand_over import HandOver
from gateway.sockets.listeners import Sockets, listening, origin_of, without_inherited
from gateway.sockets.notify import READY, notify
from gateway.sockets.notify import VARIABLES as OF_NOTIFY
from gateway.sockets.tls import certificate_of
from gateway.supervisor.crew import Crew
from gateway.supervisor.process import StartFailed, WorkerProcess
from gateway.supervisor.start import Start, Started, share_of
from gateway.supervisor.survey import Survey
from gateway.supervisor.together import Together
from gateway.variables.unusable import log_fields

_log = structlog.get_logger("supervisor")


def supervise(settings: Settings, environ: Mapping[str, str]) -> int:
    """Run `settings.listen.workers` workers until SIGTERM or SIGINT. Blocks; the exit status."""
    logs = ProcessLogs(settings, sys.stderr.fileno())
    Ignored().loaded(settings)
    try:
        certificate_of(settings.listen)  # a worker's end would not say what is wrong with it
        by_place = listening(settings.listen, environ, shares=settings.listen.workers)
        with loop_runner() as runner:
            killed_by = runner.run(_run(Supervisor(settings, environ, by_place, logs)))
    except OSError as why:
        _log.error("not_started", **log_fields(why))
        return 1
    except StartFailed as failed:
        _log.error("not_started", **failed.why)
        return 1
    finally:
        logs.close()
    if killed_by is not None:
        signal.signal(killed_by, signal.SIG_DFL)
        signal.raise_signal(killed_by)
    return 0


async def _run(supervisor: "Supervisor") -> signal.Signals | None:
    try:
        return await supervisor.run()
    finally:
        asking_signals.ignore()  # where it was not told to stop


class Supervisor:
    """Puts the parts together, and answers what workers ask."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        by_place: list[Sockets],
        logs: ProcessLogs,
    ) -> None:
        self._environ = environ
        self._by_place = by_place
        self._all_started = asyncio.Event()
        self._is_welcomed = False
        self._env_watch = EnvWatch(settings)
        self._stop = asyncio.Event()
        self._hand_over: HandOver | None = None
        self._at_once: signal.Signals | None = None
        self._receipts = Receipts()
        self._crew = Crew(
            by_place,
            # The service manager hears of this process alone.
            {k: v for k, v in without_inherited(environ).items() if k not in OF_NOTIFY},
            start_of=self._start_of,
            handle=self._handle,
            on_end=lambda worker: self._survey.counters.bury(worker.pid),
        )
        self._survey = Survey(self._crew, lambda: logs.dropped)
        self._together = Together(
            settings,
            self._crew,
            load=lambda: load(environ),
            on_commit=logs.follow,
            on_drained=self._tell_receipts,
        )
        self._reloader = Reloader(self._together, self._receipts, on_receipt=self._tell_receipts)

    async def run(self) -> signal.Signals | None:
        """Serve until told to stop; the signal that wanted it at once, if one did.

        Raises:
            StartFailed, OSError: the workers cannot be started.
        """
        self._on_signals()
        listen = self._together.settings.listen
        if await done_before(self._stop, self._crew.start()):
            origin = origin_of(listen, self._by_place[0])
            _log.info("started", origin=origin, pid=os.getpid(), workers=self._crew.size)
            self._all_started.set()
            self._env_watch.start()
            notify(self._environ, READY)
            chores = [
                asyncio.create_task(self._survey.count(), name="count"),
                asyncio.create_task(let_orphans_go(), name="orphans"),
            ]
            await self._stop.wait()
            for chore in chores:
                chore.cancel()
            self._env_watch.stop()
        await self._end()
        return self._at_once

    async def _end(self) -> None:
        asking_signals.ignore()
        if self._hand_over is not None:
            self._hand_over.stopping()
        drain_s = self._together.settings.drain_s
        _log.info("stopping", drain_s=drain_s)
        await self._reloader.aclose()
        # Else whoever connects from now on would wait for the end, and then be reset.
        for one in (one for group in self._by_place for one in group):
            one.close()
        await self._crew.stop(within_s=drain_s)
        _log.info("stopped")

    def _on_signals(self) -> None:
        """SIGHUP reloads, SIGUSR2 hands over; the first SIGTERM or SIGINT stops in order, the
        second at once."""
        loop = asyncio.get_running_loop()
        killing: set[asyncio.Task[None]] = set()
        is_asked = False  # which a stop after a hand-over is not

        def ask_to_stop(number: signal.Signals) -> None:
            nonlocal is_asked
            if not is_asked:
                is_asked = True
                self._stop.set()
            else:
                self._at_once = number
                killing.add(loop.create_task(self._crew.kill()))

        def reload() -> None:
            for worker in self._crew.serving.values():
                worker.channel.tell("reread_certificate")
            self._reloader.signalled()

        hand_over = self._hand_over = HandOver(
            lambda: list(dict.fromkeys(one for group in self._by_place for one in group)),
            self._environ,
            self._stop.set,
            self._stop,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ask_to_stop, number)
        asking_signals.answer(signal.SIGHUP, reload, loop)
        asking_signals.answer(signal.SIGUSR2, hand_over.asked, loop)

    def _start_of(self, place: int, descriptors: tuple[tuple[int, ...], ...]) -> Start:
        return Start(
            version=VERSION,
            place=place,
            size=self._crew.size,
            settings=share_of(self._together.settings, self._crew.size),
            generation=self._together.generation,
            receipts=self._receipts.state(),
            sockets=descriptors,
        )

    async def _handle(self, worker: WorkerProcess, verb: str, arguments: dict[str, Any]) -> Any:
        match verb:
            case "started":
                worker.note_serving()
                # There may be more of them than when it was begun.
                worker.channel.tell("receipts", state=self._receipts.state())
                # Whoever is stopped meanwhile is told, too: it stops when it has this answer.
                are_all = await done_before(self._stop, self._all_started.wait())
                is_first, self._is_welcomed = are_all and not self._is_welcomed, True
                return Started(is_first=is_first)
            case "leaving":
                return worker.left.set()
            case "farewell":
                return self._survey.counters.note(worker.pid, arguments["metrics"])
            case "signalled":
                return self._reloader.signalled()
            case "reload":
                return await self._reloader.reload(**arguments)
            case "tell_others":
                for other in self._crew.serving.values():
                    if other is not worker:
                        other.channel.tell("heard", **arguments)
                return None
            case "reports":
                return await self._survey.reports(worker, **arguments)
        raise AssertionError(verb)

    def _tell_receipts(self) -> None:
        for worker in self._crew.serving.values():
            worker.channel.tell("receipts", state=self._receipts.state())
