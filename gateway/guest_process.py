"""A guest process: `python -m gateway.guest_process DESCRIPTOR`, started by a gateway.

It is the `runner` verb's application on a socket that the gateway keeps, and belongs to the
gateway at the other end of its link: when that is gone, it goes too. Over the link it hears
once what it has to know, says that it serves, and from then on repeats its log lines for the
gateway's console.
"""

import asyncio
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
from aiohttp import web

from gateway.app import create_app
from gateway.frames import first_message
from gateway.guest_start import SERVES, Start, open_link
from gateway.logs.process import ProcessLogs
from gateway.logs.tap import TAP
from gateway.process import asking_signals
from gateway.process.serve import Serving, run
from gateway.runner_app import ROUTES
from gateway.settings import Listen, Settings
from gateway.sockets.inherited import inherited, shared_listener
from gateway.sockets.listeners import Sockets

_MAX_UNSENT_BYTES: Final = 1024 * 1024
_MORE_EXPENDABLE: Final = 500
"""By how much than the gateway, of 1000 (proc(5), oom_score_adj). A compiler has all 1000."""

_log = structlog.get_logger("guest_process")


class InTheGateway:
    """The process around a guest process's application; see Host."""

    def __init__(self, start: Start, link: socket.socket) -> None:
        self._listener = shared_listener(start.listener)
        self._link = link
        self._tasks: list[asyncio.Task[None]] = []

    def sockets(self, _: Listen) -> Sockets:
        """See Host."""
        return [self._listener]

    async def started(
        self, _origin: str, _settings: Settings, _app: web.Application, serving: Serving
    ) -> None:
        """See Host."""
        reader, writer = await open_link(self._link)
        writer.write(SERVES)
        self._tasks = [
            asyncio.create_task(_stop_with_the_gateway(reader, serving), name="gateway"),
            asyncio.create_task(_pass_lines_on(writer), name="lines"),
        ]

    def not_started(self, **why: str) -> None:
        """See Host."""
        _log.error("not_started", **why)

    async def stopping(self) -> None:
        """See Host."""

    async def stopped(self) -> None:
        """See Host."""
        for task in self._tasks:
            task.cancel()


async def _stop_with_the_gateway(reader: asyncio.StreamReader, serving: Serving) -> None:
    with suppress(OSError):
        await reader.read(1)  # nothing comes but the end
    serving.stop.set()


async def _pass_lines_on(writer: asyncio.StreamWriter) -> None:
    with TAP.watching() as watcher:
        while True:
            line = await watcher.lines.get()
            if writer.transport.get_write_buffer_size() < _MAX_UNSENT_BYTES:
                writer.write(str(line).encode(errors="replace") + b"\n")


def _go_before_the_gateway() -> None:
    """Where memory runs out, the system is to end this process, which takes fewer calls along."""
    adjustment = Path("/proc/self/oom_score_adj")
    with suppress(OSError):  # only Linux has it
        adjustment.write_text(str(min(int(adjustment.read_text()) + _MORE_EXPENDABLE, 1000)))


def main(descriptor: int) -> int:
    """Serve until the gateway is gone. Returns the exit status."""
    _go_before_the_gateway()
    asking_signals.remember()
    link = inherited(descriptor)
    try:
        start: Start = first_message(link)
    except (EOFError, OSError):
        return 1
    settings = start.settings
    logs = ProcessLogs(settings, sys.stderr.fileno(), {"guest_process": start.place})
    app = create_app(
        settings,
        load=lambda: settings,
        access_sink=lambda _: None,  # the gateway logs each call, whoever ran it
        routes=ROUTES,
    )
    return run(app, settings, logs, InTheGateway(start, link))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
