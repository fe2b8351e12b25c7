"""What is written in one turn of the event loop goes out at its end, all together.

A peer that sleeps is woken by the first byte that comes. Written between other work, each request
of a turn wakes the runner and each answer wakes its client anew, and waking somebody costs the
writer more than sending does. Written back to back, most find their reader awake already.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final
from weakref import WeakKeyDictionary

MAX_HELD: Final = 32
"""Connections with something to write; more than these do not wait for the end of the turn."""
MAX_HELD_BYTES: Final = 32 * 1024
"""Of one connection. What is larger goes out at once: it is worth waking somebody."""

Bytes = bytes | bytearray | memoryview


class TurnWrites:
    """The connections of one event loop that have something to write at the end of this turn."""

    __slots__ = ("__weakref__", "_held")

    def __init__(self) -> None:
        self._held: list[TurnTransport] = []

    def hold(self, transport: "TurnTransport") -> None:
        """Flush it when the turn ends, or sooner."""
        held = self._held
        if not held:
            asyncio.get_running_loop().call_soon(self.flush)
        held.append(transport)
        if len(held) >= MAX_HELD:
            self.flush()

    def flush(self) -> None:
        """Write what is held. For whoever is about to keep the loop from turning, too."""
        held, self._held = self._held, []
        for transport in held:
            transport.flush()


class TurnTransport(asyncio.Transport):
    """A transport whose small writes wait for the end of the turn, in their order.

    Whatever else is done to it comes after what was written, as if that had gone out at once;
    `abort` alone drops it. Who hears from the event loop of the end of a connection's input has
    to `flush`, for the loop closes what is beneath.
    """

    __slots__ = ("_beneath", "_held", "_writes")

    def __init__(self, beneath: asyncio.Transport) -> None:
        self._beneath = beneath
        self._held = b""
        self._writes = writes_of(asyncio.get_running_loop())

    def write(self, data: Bytes) -> None:
        held = self._held
        if len(held) + len(data) > MAX_HELD_BYTES or not isinstance(data, bytes):
            self.writelines((data,))  # what is no bytes may change before the turn ends
        elif held:
            self._held = held + data
        elif data:
            self._held = data
            self._writes.hold(self)

    def writelines(self, list_of_data: Iterable[Bytes]) -> None:
        """At once, and what is held before it."""
        held, self._held = self._held, b""
        if not self._beneath.is_closing():
            self._beneath.writelines([held, *list_of_data] if held else list_of_data)

    def flush(self) -> None:
        """Write what is held."""
        held, self._held = self._held, b""
        if held and not self._beneath.is_closing():
            self._beneath.write(held)

    def write_eof(self) -> None:
        self.flush()
        self._beneath.write_eof()

    def close(self) -> None:
        self.flush()
        self._beneath.close()

    def abort(self) -> None:
        self._held = b""
        self._beneath.abort()

    def get_write_buffer_size(self) -> int:
        return len(self._held) + self._beneath.get_write_buffer_size()

    def is_closing(self) -> bool:
        return self._beneath.is_closing()

    def can_write_eof(self) -> bool:
        return self._beneath.can_write_eof()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._beneath.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._beneath.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._beneath.get_extra_info(name, default)

    def is_reading(self) -> bool:
        return self._beneath.is_reading()

    def pause_reading(self) -> None:
        self._beneath.pause_reading()

    def resume_reading(self) -> None:
        self._beneath.resume_reading()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._beneath.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._beneath.get_protocol()


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, TurnWrites] = WeakKeyDictionary()


def writes_of(loop: asyncio.AbstractEventLoop) -> TurnWrites:
    """The one of an event loop."""
    known = _of_loops.get(loop)
    if known is None:
        known = _of_loops[loop] = TurnWrites()
    return known
