"""Questions and answers between a supervisor and one worker, over a socket pair."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import structlog

from gateway.frames import LENGTH, MAX_FRAME_BYTES, frame, unframed

MAX_UNSENT_BYTES: Final = 2 * MAX_FRAME_BYTES

Handle = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Answers one question: its verb and its arguments."""

_log = structlog.get_logger("channel")


class ChannelClosed(Exception):
    """The other process is gone, or takes nothing any more."""


class AskFailed(Exception):
    """The other process could not answer; its log says why."""


class Channel:
    """One end. Belongs to one event loop.

    Args:
        handle: answers what the other end asks; each question in a task of its own.
    """

    def __init__(self, end: socket.socket, handle: Handle) -> None:
        self.closed = asyncio.Event()
        self._end = end
        self._handle = handle
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._asked = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        """Begin to listen."""
        self._end.setblocking(False)
        reader, self._writer = await asyncio.open_connection(sock=self._end)
        self._start(self._read(reader))

    async def aclose(self) -> None:
        """Say nothing more, hear nothing more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._lost()

    async def ask(self, verb: str, *, within_s: float, **arguments: Any) -> Any:
        """The other end's answer.

        Raises:
            TimeoutError: none came within `within_s` seconds.
            ChannelClosed: none will come.
            AskFailed: it could not be answered.
        """
        self._asked += 1
        number = self._asked
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._send(("ask", number, (verb, arguments)))
            async with asyncio.timeout(within_s):
                return await answer
        finally:
            del self._waiting[number]

    def tell(self, verb: str, **arguments: Any) -> None:
        """Say something that needs no answer; nothing happens when nobody hears it."""
        with suppress(ChannelClosed):
            self._send(("tell", 0, (verb, arguments)))

    def tell_unopened(self, verb: str, **arguments: Any) -> None:
        """The same from an end that has no event loop. Raises OSError when it goes nowhere."""
        self._end.sendall(frame(("tell", 0, (verb, arguments))))

    def greet(self, message: object) -> None:
        """Say what the other end waits for before it listens (`first_message`)."""
        self._send(message)

    def _send(self, message: object) -> None:
        writer = self._writer
        if writer is None or self.closed.is_set():
            raise ChannelClosed
        if writer.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            raise ChannelClosed
        writer.write(frame(message))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
                if length > MAX_FRAME_BYTES:
                    return
                self._take(*unframed(await reader.readexactly(length)))
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            self._lost()

    def _take(self, kind: str, number: int, body: Any) -> None:
        match kind:
            case "ask":
                self._start(self._answer(number, *body))
            case "tell":
                self._start(self._hear(*body))
            case "answer" | "failed":
                waiting = self._waiting.get(number)
                if waiting is None or waiting.done():
                    return  # too late
                if kind == "answer":
                    waiting.set_result(body)
                else:
                    waiting.set_exception(AskFailed(body))

    async def _answer(self, number: int, verb: str, arguments: dict[str, Any]) -> None:
        try:
            message = ("answer", number, await self._handle(verb, arguments))
        except Exception as failure:  # noqa: BLE001  whoever asked must not wait for nothing
            _log.exception("ask_failed", verb=verb)
            message = ("failed", number, type(failure).__name__)
        with suppress(ChannelClosed):
            self._send(message)

    async def _hear(self, verb: str, arguments: dict[str, Any]) -> None:
        try:
            await self._handle(verb, arguments)
        except Exception:  # noqa: BLE001  nobody waits for this
            _log.exception("tell_failed", verb=verb)

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _lost(self) -> None:
        if self.closed.is_set():
            return
        self.closed.set()
        if self._writer is not None:
            self._writer.close()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ChannelClosed())
