"""Replaces the running program by another one on the same sockets: SIGUSR2.

A new instance, of whatever is installed now, is started with the sockets. Both accept until
the new one says that it serves; then the old one stops accepting and finishes what runs. If
the new one fails or takes too long, the old one goes on as if nothing had been asked.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from gateway.sockets.listeners import Sockets, without_inherited
from gateway.sockets.notify import PREDECESSOR, READY, STOPPING, notify

START_S: Final = 60.0
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
            detail = why.strerror or str(why)
            _log.error("hand_over_failed", error=type(why).__name__, detail=detail)
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
            successor = Successor(self._sockets(), {**self._environ, PREDECESSOR: address})
            try:
                async with asyncio.timeout(START_S):
                    pid = await asyncio.to_thread(successor.pid)
                    _log.info("hand_over_begun", successor=pid)
                    said_ready = await _first_of(_is_ready(ear), _has_ended(successor))
                if said_ready:
                    await asyncio.to_thread(successor.let_go)
                    return pid
            except TimeoutError:
                pass
            except asyncio.CancelledError:  # stopped meanwhile, and so is whatever was begun
                successor.kill()  # waited for at once, for nothing survives that
                raise
        ended = successor.status
        await asyncio.to_thread(successor.kill)
        reason = "not_ready_in_time" if ended is None else "successor_ended"
        _log.error("hand_over_failed", error=reason, status=ended)
        return None


class Successor:
    """A new instance of this program, on the sockets of this one.

    A service manager becomes its parent before it is told of it: what is not its own child, it
    does not stop in order but kills.
    """

    def __init__(self, sockets: Sockets, environ: Mapping[str, str]) -> None:
        descriptors = [one.fileno() for one in sockets]
        python, passed = sys.executable, ",".join(map(str, descriptors))
        reading, writing = os.pipe()
        self._report = open(reading, "rb")  # noqa: SIM115  read once, and closed then
        try:
            # Not by the event loop: its process objects kill their child when they are closed.
            self._parent = subprocess.Popen(  # noqa: S603  what runs now, run again
                [
                    *(python, "-m", "gateway.detachable", str(writing)),
                    *(python, "-m", "gateway.take_over", passed, *sys.orig_argv[1:]),
                ],
                env=without_inherited(environ),
                pass_fds=[writing, *descriptors],
            )
        finally:
            os.close(writing)
        self._reading = threading.Lock()
        self._pid: int | None = None

    def pid(self) -> int:
        """Its process id; 0 when there is no process. Blocks while an interpreter starts."""
        with self._reading:
            if self._pid is None:
                with self._report:
                    self._pid = int(self._report.read() or 0)
            return self._pid

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._parent.poll()

    def let_go(self) -> None:
        """Let it outlive this process. Blocks for a moment."""
        self._parent.kill()
        self._parent.wait()

    def kill(self) -> None:
        """End it now. Blocks until it is gone."""
        # The parent's status is the successor's, unless it was killed: then nobody's child runs on.
        if (self.status is None or self.status < 0) and (pid := self.pid()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._parent.wait()


async def _is_ready(ear: socket.socket) -> bool:
    loop = asyncio.get_running_loop()
    while READY.encode() not in (await loop.sock_recv(ear, 4096)).split(b"\n"):
        pass
    return True


async def _has_ended(successor: Successor) -> bool:
    while successor.status is None:  # noqa: ASYNC110  nothing tells us
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
