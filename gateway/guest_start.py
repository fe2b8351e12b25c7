"""The gateway's end: start a guest process, tell it what it has to know, hear its log lines.

What comes back is never unpickled: a guest that broke out of its engine must not get further
than its process.
"""

import asyncio
import socket
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Final

from backends.guest_processes.process import (
    GuestProcess,
    ProcessNotStarted,
    ProcessTask,
    StartProcess,
)
from gateway.frames import frame
from gateway.logs.tap import TAP
from gateway.settings import Settings, on_loopback

START_S: Final = 30.0
STOP_S: Final = 5.0
MAX_ENVELOPE_BYTES: Final = 24 * 1024 * 1024
"""Holds the largest body that the engine takes in, as base64, and everything around it."""

SERVES: Final = b"serves\n"
_MAX_LINE_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a guest process is told before it does anything."""

    place: int
    settings: Settings  # already a runner's
    listener: int  # the descriptor of the socket that it accepts on


def starter(settings: Settings) -> StartProcess:
    """Starts guest processes that log, limit and time out as these settings say."""

    async def start(task: ProcessTask) -> GuestProcess:
        listener = task.listener.fileno()
        message = Start(place=task.place, settings=_of_a_runner(settings, task), listener=listener)
        mine, its = socket.socketpair()
        with its, ExitStack() as undo:
            undo.enter_context(mine)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway.guest_process", str(its.fileno()),
                pass_fds=(its.fileno(), listener),
                # What a terminal sends to the foreground is the gateway's to act on.
                start_new_session=True,
            )  # fmt: skip
            started = StartedProcess(process, *await open_link(mine))
            undo.pop_all()
        try:
            async with asyncio.timeout(START_S):
                await started.greet(message)
        except (TimeoutError, OSError):
            await started.stop()
            raise ProcessNotStarted(
                f"guest process {task.place} did not start; its own line says why"
            ) from None
        except BaseException:
            await started.stop()
            raise
        return started

    return start


def _of_a_runner(settings: Settings, task: ProcessTask) -> Settings:
    """The same, without what is for callers of the gateway: they do not reach a guest process."""
    return replace(
        on_loopback(settings, task.settings, tenant=""),  # which counts where there is no token
        embedded=task.settings,
        service_token=task.token,
        max_body_bytes=MAX_ENVELOPE_BYTES,
        secrets=settings.secrets | {task.token},
    )


class StartedProcess:
    """See GuestProcess."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._repeating: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    async def greet(self, start: Start) -> None:
        """Tell it what it has to know, and wait until it serves. Raises OSError when it ends."""
        self._writer.write(frame(start))
        if await self._reader.readline() != SERVES:
            raise ConnectionResetError
        self._repeating = asyncio.create_task(self._repeat(), name="guest-process-lines")

    async def ended(self) -> int:
        """See GuestProcess."""
        return await self._process.wait()

    def kill(self) -> None:
        """See GuestProcess."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self) -> None:
        """See GuestProcess. It ends in order when its link does, else it is killed."""
        self._writer.close()
        try:
            async with asyncio.timeout(STOP_S):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()
        if self._repeating is not None:
            self._repeating.cancel()

    async def _repeat(self) -> None:
        while True:
            try:
                line = await self._reader.readline()
            except ValueError:  # longer than any of ours: not worth showing
                continue
            except OSError:
                return
            if not line:
                return
            TAP.publish(line[:-1].decode(errors="replace"))


async def open_link(link: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A stream over one end of a socket pair."""
    link.setblocking(False)
    return await asyncio.open_connection(sock=link, limit=_MAX_LINE_BYTES)
