"""Replaces the running program by another one on the same sockets: SIGUSR2.

A new instance, of whatever is installed now, is started with the sockets. Both accept until
the new one says that it serves; then the old one stops accepting and finishes what runs. If
the new one fails or takes too long, the old one goes on as if nothing had been asked.
"""

import asyncio
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import structlog

from gateway.listeners import Sockets, without_inherited
from gateway.notify import PREDECESSOR, READY, STOPPING, notify

START_S: Final = 60.0
LINGER_S: Final = 1.0
"""How long an old process still serves the connections it has, each to its next answer, before
it closes those that are idle: a request may be on its way on any of them."""
_LOOK_S: Final = 0.1

_log = structlog.get_logger("hand_over")


class HandOver:
    """Hands the sockets over when asked, one attempt at a time.

    Args:
        sockets: what is handed over.
        environ: this process's environment, which is the successor's too.
        succeeded: called when the successor serves: it is time to go.
    """

    def __init__(
        self,
        sockets: Callable[[], Sockets],
        environ: Mapping[str, str],
        succeeded: Callable[[], None],
        stop: asyncio.Event,
    ) -> None:
        self._sockets = sockets
        self._environ = environ
        self._succeeded = succeeded
        self._stop = stop
        self._attempt: asyncio.Task[None] | None = None
        self._is_done = False

    def asked(self) -> None:
        """Begin, unless an attempt is under way or a stop has begun."""
        if not self._stop.is_set() and (self._attempt is None or self._attempt.done()):
            self._attempt = asyncio.create_task(self._hand_over(), name="hand-over")

    def stopping(self) -> None:
        """A stop has begun: cancel an attempt that is under way, and its successor."""
        if self._attempt is not None:
            self._attempt.cancel()
        if not self._is_done:  # else the service goes on, in the successor
            notify(self._environ, STOPPING)

    async def _hand_over(self) -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="gateway-hand-over-") as folder:
                successor = await self._start(str(Path(folder) / "notify"))
        except OSError as why:
            _log.error("hand_over_failed", error=type(why).__name__, detail=why.strerror or "")
            return
        if successor is None:
            return
        _log.info("handed_over", successor=successor)
        self._is_done = True
        notify(self._environ, f"MAINPID={successor}", READY)
        self._succeeded()

    async def _start(self, address: str) -> int | None:
        """Start the successor and wait until it serves; its process id, or None."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
            ear.setblocking(False)
            ear.bind(address)
            successor = _spawn(self._sockets(), {**self._environ, PREDECESSOR: address})
            _log.info("hand_over_begun", successor=successor.pid)
            try:
                async with asyncio.timeout(START_S):
                    said_ready = await _first_of(_is_ready(ear), _has_ended(successor))
            except TimeoutError:
                said_ready = False
            except asyncio.CancelledError:  # stopped meanwhile, and so is whatever was begun
                successor.kill()
                successor.wait()  # at once, for nothing survives that
                raise
        if said_ready:
            return successor.pid
        ended = successor.poll()
        successor.kill()
        await asyncio.to_thread(successor.wait)
        reason = "not_ready_in_time" if ended is None else "successor_ended"
        _log.error("hand_over_failed", error=reason, status=ended)
        return None


def _spawn(sockets: Sockets, environ: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    # Not by the event loop: its process objects kill their child when they are closed.
    descriptors = [one.fileno() for one in sockets]
    return subprocess.Popen(  # noqa: S603  what runs now, run again
        [
            sys.executable,
            "-m",
            "gateway.take_over",
            ",".join(map(str, descriptors)),
            *sys.orig_argv[1:],
        ],
        env=without_inherited(environ),
        pass_fds=descriptors,
    )


async def _is_ready(ear: socket.socket) -> bool:
    loop = asyncio.get_running_loop()
    while READY.encode() not in (await loop.sock_recv(ear, 4096)).split(b"\n"):
        pass
    return True


async def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    while process.poll() is None:  # noqa: ASYNC110  nothing tells us
        await asyncio.sleep(_LOOK_S)
    return False


async def _first_of(*alternatives: Awaitable[bool]) -> bool:
    tasks = [asyncio.ensure_future(each) for each in alternatives]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return all(task.result() for task in done)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
