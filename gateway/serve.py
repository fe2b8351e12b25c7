"""The process around an application: event loop, sockets, signals, and an orderly end."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping

import structlog
from aiohttp import web

from gateway.allocator import keep_large_blocks
from gateway.app import create_app
from gateway.keys import RELOADER, STATE
from gateway.process_logs import ProcessLogs
from gateway.server import GatewayRunner
from gateway.settings import Listen, Settings, load
from gateway.tls import LiveCertificate
from gateway.welcome import welcome

BACKLOG = 1024

_log = structlog.get_logger("serve")

Announce = Callable[[str, Settings, web.Application], Awaitable[None]]


def serve(settings: Settings, environ: Mapping[str, str]) -> int:
    """Run the gateway until SIGTERM or SIGINT. Blocks; returns the exit status."""
    logs = ProcessLogs(settings, sys.stderr.fileno())
    app = create_app(
        settings,
        load=lambda: load(environ),
        on_commit=logs.follow,
        access_sink=logs.access,
    )
    return run(app, settings, logs, announce=welcome)


def run(app: web.Application, settings: Settings, logs: ProcessLogs, *, announce: Announce) -> int:
    """Run `app` on the fastest loop there is.

    Args:
        logs: closed at the end.
        announce: called once the port is open, with the origin that clients use.
    """
    keep_large_blocks()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_run(app, settings, announce))
    except OSError as why:
        _log.error("not_started", error=type(why).__name__, detail=why.strerror or "")
        return 1
    finally:
        logs.close()
    return 0


async def _run(app: web.Application, settings: Settings, announce: Announce) -> None:
    listen = settings.listen
    certificate = _certificate(listen)
    server = GatewayRunner(app, listen, shutdown_s=settings.drain_s)
    await server.setup()
    try:
        site = web.TCPSite(
            server,
            listen.host,
            listen.port,
            ssl_context=None if certificate is None else certificate.context,
            backlog=BACKLOG,
        )
        await site.start()
        origin = _origin(listen, server)
        stop = _on_signals(app, certificate)
        _log.info("started", origin=origin, pid=os.getpid())
        await announce(origin, settings, app)
        _spare_the_collector()
        await stop.wait()
        app[STATE].stopping = True
        _log.info("stopping", drain_s=settings.drain_s)
        await site.stop()
    finally:
        await server.cleanup()
        _log.info("stopped")


def _spare_the_collector() -> None:
    """Look for cyclic garbage seldom, and never among what start-up made.

    Requests leave hardly any cycles, but their objects trigger collections that walk the
    whole heap: up to a quarter of the CPU time of a small request.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def _on_signals(app: web.Application, certificate: LiveCertificate | None) -> asyncio.Event:
    """SIGHUP reloads; the first SIGTERM or SIGINT stops in order, the second at once."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def ask_to_stop() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        stop.set()

    def reload() -> None:
        if certificate is not None:
            certificate.reread()
        app[RELOADER].signalled()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask_to_stop)
    loop.add_signal_handler(signal.SIGHUP, reload)
    return stop


def _certificate(listen: Listen) -> LiveCertificate | None:
    if listen.tls_cert is None or listen.tls_key is None:
        return None
    return LiveCertificate(listen.tls_cert, listen.tls_key)


def _origin(listen: Listen, server: GatewayRunner) -> str:
    """The address that a client on this machine uses; port 0 has become a real one."""
    port = server.addresses[0][1]
    host = "127.0.0.1" if listen.host in {"0.0.0.0", "::", ""} else listen.host  # noqa: S104
    if ":" in host:
        host = f"[{host}]"
    return f"{'https' if listen.tls_cert else 'http'}://{host}:{port}"


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not available on this platform: the standard loop will do
        return None
    return uvloop.new_event_loop
