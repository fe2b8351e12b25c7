"""One worker: `python -m gateway.supervisor.worker DESCRIPTOR`, started by a supervisor.

It serves as a process alone would, on sockets that it inherits, and belongs to the supervisor
at the other end of its channel: when that is gone, it finishes what runs and goes too.
"""

import os
import sys
from functools import partial

import structlog
from aiohttp import web

from gateway.app import create_app
from gateway.frames import first_message
from gateway.logs.process import ProcessLogs
from gateway.process import asking_signals
from gateway.process.serve import Serving, run
from gateway.process.version import VERSION
from gateway.process.welcome import welcome
from gateway.reports import hear, report
from gateway.settings import Listen, Settings
from gateway.sockets.inherited import inherited, shared_listener
from gateway.sockets.listeners import Sockets
from gateway.supervisor.channel import ChannelClosed
from gateway.supervisor.member import Member
from gateway.supervisor.start import Start

_log = structlog.get_logger("worker")


class Worker:
    """The process around a member's application."""

    def __init__(self, start: Start, member: Member) -> None:
        self._start = start
        self._member = member
        # Places may share one: what is closed twice would raise, or close somebody else's.
        descriptors = {each for place in start.sockets for each in place}
        known = {each: shared_listener(each) for each in descriptors}
        self._by_place = [[known[each] for each in place] for place in start.sockets]

    def sockets(self, _: Listen) -> Sockets:
        """See Host."""
        return self._by_place[self._start.place]

    async def started(
        self, origin: str, settings: Settings, app: web.Application, serving: Serving
    ) -> None:
        """See Host."""
        self._serving = serving
        try:
            told = await self._member.join(serving, self._by_place)
        except ChannelClosed:
            return  # with its supervisor gone this worker stops, and its log says why
        _log.info("worker_started", pid=os.getpid(), generation=self._start.generation)
        if told.is_first:
            await welcome(origin, settings, app)

    def not_started(self, **why: str) -> None:
        """See Host. The supervisor's log says it, once for all workers."""
        try:
            self._member.not_started(why)
        except OSError:  # it is gone
            _log.error("not_started", **why)

    async def stopping(self) -> None:
        """See Host."""
        self._member.leaving()
        # Those of the others as well: each resets who waits at it when its last holder closes it.
        await self._serving.accept_on([one for sockets in self._by_place for one in sockets])

    async def stopped(self) -> None:
        """See Host."""
        await self._member.farewell()


def main(descriptor: int) -> int:
    """Serve until told to stop. Returns the exit status."""
    # One for the terminal does not reach this process, because it has a session of its own.
    asking_signals.remember()
    end = inherited(descriptor)
    try:
        start: Start = first_message(end)
    except (EOFError, OSError):
        return 1
    logs = ProcessLogs(start.settings, sys.stderr.fileno(), {"worker": start.place})
    if start.version != VERSION:
        # What is installed has been replaced under a running supervisor.
        _log.error("not_started", error="program_replaced", running=start.version, found=VERSION)
        logs.close()
        return 1
    member = Member(start, end)
    app = create_app(
        start.settings,
        load=member.load,
        on_commit=logs.follow,
        access_sink=logs.access,
        fleet=member,
        lines_dropped=lambda: logs.dropped,
    )
    member.own = partial(report, app)
    member.hear = partial(hear, app)
    return run(app, start.settings, logs, Worker(start, member))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
