"""The process around an application: event loop, sockets, signals, and an orderly end."""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol

import structlog
from aiohttp import web

from backends.errors import BackendError
from gateway.app import create_app
from gateway.done_before import done_before
from gateway.ignored_variables import Ignored
from gateway.keys import LIVE, RELOADER, STATE
from gateway.logs.process import ProcessLogs
from gateway.process import asking_signals
from gateway.process.allocator import give_back_at_intervals, keep_large_blocks
from gateway.process.env_watch import EnvWatch
from gateway.process.loop_runner import loop_runner
from gateway.process.orphans import let_orphans_go
from gateway.process.welcome import welcome
from gateway.server import GatewayRunner
from gateway.settings import Listen, Settings, load
from gateway.sockets.hand_over import HandOver
from gateway.sockets.listeners import BACKLOG, Sockets, listening, origin_of
from gateway.sockets.notify import READY, notify
from gateway.sockets.open_files import watch_open_files
from gateway.sockets.site import GatewaySite, serve_accepted
from gateway.sockets.tls import LiveCertificate, certificate_of
from gateway.variables.unusable import log_fields

Announce = Callable[[str, Settings, web.Application], Awaitable[None]]

LINGER_S: Final = 1.0
"""How long a process that stops still serves the connections it has, each to its next answer,
before it closes those that are idle: a request may be on its way on any of them."""
_LOOK_S: Final = 0.05

_log = structlog.get_logger("serve")


class Serving:
    """An application on its sockets, until it is told to stop.

    Attributes:
        stop: set it, and the process ends in order.
    """

    def __init__(self, server: GatewayRunner, certificate: LiveCertificate | None) -> None:
        self.stop = asyncio.Event()
        self.certificate = certificate
        self._server = server
        self._sites: dict[socket.socket, GatewaySite] = {}
        self._changing = asyncio.Lock()

    @property
    def sockets(self) -> Sockets:
        """What is accepted on now."""
        return list(self._sites)

    async def accept_on(self, sockets: Sockets) -> None:
        """Accept on these and no others."""
        context = None if self.certificate is None else self.certificate.context
        async with self._changing:
            for one in sockets:
                if one not in self._sites:
                    # A copy: the site closes what it was given.
                    site = GatewaySite(
                        self._server, one.dup(), ssl_context=context, backlog=BACKLOG
                    )
                    await site.start()
                    self._sites[one] = site
            for one in self._sites.keys() - set(sockets):
                await self._sites.pop(one).stop()

    async def wind_up(self) -> None:
        """Accept who has connected already and nobody else, and wait until every connection has
        ended with an answer, or for LINGER_S."""
        sockets = self.sockets
        await self.accept_on(())
        last = [each for one in sockets for each in _last_of(one)]
        context = None if self.certificate is None else self.certificate.context
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                await asyncio.gather(
                    *(serve_accepted(self._server, each, context) for each in last),
                    return_exceptions=True,
                )
                while (server := self._server.server) and server.connections:  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_S)


def _last_of(listener: socket.socket) -> Sockets:
    """Close it, and take those who wait at it: they would be reset, with what they have sent."""
    listener.setblocking(False)
    last: list[socket.socket] = []
    with listener, suppress(OSError):
        while len(last) < BACKLOG:  # no more can wait
            last.append(listener.accept()[0])
    return last


class Host(Protocol):
    """What kind of process this is: one that serves alone, or a worker among others."""

    def sockets(self, listen: Listen) -> Sockets:
        """What to accept on. Raises OSError when that cannot be had."""

    async def started(
        self, origin: str, settings: Settings, app: web.Application, serving: Serving
    ) -> None:
        """Called once the port is open, with the origin that clients use."""

    def not_started(self, **why: str) -> None:
        """Called in the place of `started`, without an event loop, with what the log is to say."""

    async def stopping(self) -> None:
        """Called when this process was told to stop, before it does."""

    async def stopped(self) -> None:
        """Called when everything is closed."""


class Alone:
    """The one process of a gateway without workers.

    Args:
        settings: as they were read just now.
        announce: prints the way in.
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str], announce: Announce) -> None:
        self._environ = environ
        self._announce = announce
        self._env_watch = EnvWatch(settings)
        self._hand_over: HandOver | None = None

    def sockets(self, listen: Listen) -> Sockets:
        """See Host."""
        (mine,) = listening(listen, self._environ)
        return mine

    async def started(
        self, origin: str, settings: Settings, app: web.Application, serving: Serving
    ) -> None:
        """See Host."""

        hand_over = self._hand_over = HandOver(
            lambda: serving.sockets, self._environ, serving.stop.set, serving.stop
        )
        asking_signals.answer(signal.SIGUSR2, hand_over.asked, asyncio.get_running_loop())
        _log.info("started", origin=origin, pid=os.getpid())
        await self._announce(origin, settings, app)
        self._env_watch.start()
        notify(self._environ, READY)

    def not_started(self, **why: str) -> None:
        """See Host."""
        _log.error("not_started", **why)

    async def stopping(self) -> None:
        """See Host."""
        self._env_watch.stop()
        if self._hand_over is not None:
            self._hand_over.stopping()

    async def stopped(self) -> None:
        """See Host."""


def serve(settings: Settings, environ: Mapping[str, str]) -> int:
    """Run the gateway until SIGTERM or SIGINT. Blocks; returns the exit status."""
    logs = ProcessLogs(settings, sys.stderr.fileno())
    Ignored().loaded(settings)
    app = create_app(
        settings,
        load=lambda: load(environ),
        on_commit=logs.follow,
        access_sink=logs.access,
        lines_dropped=lambda: logs.dropped,
    )
    return run(app, settings, logs, Alone(settings, environ, welcome))


def run(app: web.Application, settings: Settings, logs: ProcessLogs, host: Host) -> int:
    """Run `app` on the fastest loop there is. Closes `logs` at the end."""
    keep_large_blocks()
    try:
        with loop_runner(_loop_factory()) as runner:
            runner.run(_run(app, settings, host))
    except (BackendError, OSError) as why:
        host.not_started(**log_fields(why))
        return 1
    finally:
        logs.close()
    return 0


async def _run(app: web.Application, settings: Settings, host: Host) -> None:
    listen = settings.listen
    certificate = certificate_of(listen)
    server = GatewayRunner(app, listen, shutdown_s=settings.drain_s)
    serving = Serving(server, certificate)
    _stop_on_signals(serving)
    if not await done_before(serving.stop, server.setup()):
        asking_signals.ignore()
        _log.info("stopped")
        return
    try:
        sockets = host.sockets(listen)
        await serving.accept_on(sockets)
        _reload_on_signals(app, serving)
        await host.started(origin_of(listen, sockets), settings, app, serving)
        _spare_the_collector()
        chores = [
            asyncio.create_task(give_back_at_intervals(), name="give-back"),
            asyncio.create_task(watch_open_files(app[STATE]), name="open-files"),
            asyncio.create_task(let_orphans_go(), name="orphans"),
        ]
        await serving.stop.wait()
        asking_signals.ignore()
        for chore in chores:
            chore.cancel()
        app[STATE].stopping = True
        drain_s = app[LIVE].settings.drain_s
        server.wait_within(drain_s)
        _log.info("stopping", drain_s=drain_s)
        await host.stopping()
        await serving.wind_up()
    finally:
        asking_signals.ignore()  # where it was not told to stop
        await server.cleanup()
        await host.stopped()
        _log.info("stopped")


def _spare_the_collector() -> None:
    """Look for cyclic garbage seldom, and never among what start-up made.

    Requests leave hardly any cycles, but their objects trigger collections that walk the
    whole heap: up to a quarter of the CPU time of a small request. Connections do leave
    cycles, and what hangs on them: one in five thousand objects is no cost, and bounds that.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 100)


def _stop_on_signals(serving: Serving) -> None:
    """The first SIGTERM or SIGINT stops in order, the second at once."""
    loop = asyncio.get_running_loop()

    def ask_to_stop() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, _end_at_once)
        serving.stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask_to_stop)


def _end_at_once(number: int, _: object) -> None:
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    os._exit(128 + number)  # the first process of a container outlives a signal's default


def _reload_on_signals(app: web.Application, serving: Serving) -> None:
    """SIGHUP reloads."""

    def reload() -> None:
        if serving.stop.is_set():
            return
        if serving.certificate is not None:
            serving.certificate.reread()
        app[RELOADER].signalled()

    asking_signals.answer(signal.SIGHUP, reload, asyncio.get_running_loop())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        from gateway.process.event_loop import EventLoop
    except ImportError:  # uvloop is not available on this platform: the standard loop will do
        return None
    return EventLoop
