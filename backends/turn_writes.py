"""Small writes of one turn of the event loop go out together, at its end.

A peer that sleeps is woken by the first byte that comes, and waking it costs the writer more than
sending does. Written between other work, each request of a turn wakes the runner, and each answer
its client, anew; written back to back, most find their reader awake already.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final, NoReturn
from weakref import WeakKeyDictionary

from aiohttp.http_writer import SKIP_WRITELINES

MAX_HELD: Final = 32
"""Connections with something to write; more than these do not wait for the end of the turn."""
MAX_HELD_BYTES: Final = 32 * 1024
"""Of one connection. What is larger goes out at once: it is worth a wake-up of its own."""

Bytes = bytes | bytearray | memoryview


class TurnWrites:
    """The connections of one event loop that have something to write at the end of this turn.

    Attributes:
        waiting: in the order of their first write; whoever adds the first schedules the flush.
    """

    __slots__ = ("__weakref__", "waiting")

    def __init__(self) -> None:
        self.waiting: list[TurnTransport] = []

    def flush(self) -> None:
        """Write what is held; also to be called before something that blocks the loop."""
        waiting, self.waiting = self.waiting, []
        for transport in waiting:
            transport.flush()


class TurnTransport(asyncio.Transport):
    """A transport whose small writes wait for the end of the turn, in their order.

    Everything else that is called flushes them first, so that the order stays; only `abort` drops
    them. A protocol must `flush` in eof_received, because the loop then closes what is beneath.

    Attributes:
        beneath: the loop's own transport: to be read from, never to be written to.
        held: what will be written to it.
    """

    __slots__ = ("_writes", "beneath", "held")

    def __init__(self, beneath: asyncio.Transport) -> None:
        self.beneath = beneath
        self.held = b""
        self._writes = writes_of(asyncio.get_running_loop())

    def write(self, data: Bytes) -> None:
        held = self.held
        if len(held) + len(data) > MAX_HELD_BYTES or not isinstance(data, bytes):
            self.flush()  # what is no bytes may change before the turn ends
            if not self.beneath.is_closing():
                self.beneath.write(data)
        elif held:
            self.held = held + data
        elif data:
            self.held = data
            writes = self._writes
            waiting = writes.waiting
            if not waiting:
                asyncio.get_running_loop().call_soon(writes.flush)
            waiting.append(self)
            if len(waiting) >= MAX_HELD:
                writes.flush()

    def writelines(self, list_of_data: Iterable[Bytes]) -> None:
        """At once, and what is held before it."""
        held, self.held = self.held, b""
        if self.beneath.is_closing():
            return
        parts = [held, *list_of_data] if held else list_of_data
        if SKIP_WRITELINES and isinstance(self.beneath, asyncio.Transport):
            # Versions of asyncio that would not say when there is too much of it, or join it too.
            self.beneath.write(b"".join(parts))
        else:
            self.beneath.writelines(parts)

    def flush(self) -> None:
        """Write what is held."""
        held, self.held = self.held, b""
        if held and not self.beneath.is_closing():
            self.beneath.write(held)

    def write_eof(self) -> None:
        self.flush()
        self.beneath.write_eof()

    def close(self) -> None:
        self.flush()
        if not self.beneath.is_closing():  # told twice, asyncio's with TLS can no longer be aborted
            self.beneath.close()

    def abort(self) -> None:
        self.held = b""
        self.beneath.abort()

    def get_write_buffer_size(self) -> int:
        return len(self.held) + self.beneath.get_write_buffer_size()

    def is_closing(self) -> bool:
        return self.beneath.is_closing()

    def can_write_eof(self) -> bool:
        return self.beneath.can_write_eof()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self.beneath.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.beneath.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.beneath.get_extra_info(name, default)

    def is_reading(self) -> bool:
        return self.beneath.is_reading()

    def pause_reading(self) -> None:
        self.beneath.pause_reading()

    def resume_reading(self) -> None:
        self.beneath.resume_reading()

    @property
    def _sendfile_compatible(self) -> NoReturn:
        # asyncio's loop.sendfile asks this and would go on to its own transports' private parts.
        # Its callers are prepared for this error, which is uvloop's answer to every one of them.
        raise NotImplementedError("a file is read and written instead")

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.beneath.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.beneath.get_protocol()


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, TurnWrites] = WeakKeyDictionary()


def writes_of(loop: asyncio.AbstractEventLoop) -> TurnWrites:
    """The one TurnWrites of an event loop, made when it is first asked for."""
    known = _of_loops.get(loop)
    if known is None:
        known = _of_loops[loop] = TurnWrites()
    return known
