"""Which of the WebAssembly System Interface a guest gets: what its language runtime needs.

There are no files, no arguments, no environment and no network behind it; output goes to
the log (`printing`). Two things that the engine would offer are taken away: waiting on a clock
happens in native code, where no deadline reaches it, and sockets cost the gateway's
own file descriptors even though they may not connect. `wasi:http` reaches everything,
loopback included, so it is never linked.
"""

import re
import time
from collections.abc import Callable

_LINKED = re.compile(r"wasi:(cli|clocks|filesystem|io|random|sockets)/[a-z0-9-]+@0\.2\.\d+")
_NARROWED = re.compile(r"wasi:(clocks/monotonic-clock|sockets/(tcp|udp)-create-socket)@0\.2\.\d+")
_RESOLUTION_NS = 1_000

CLOCK: dict[str, Callable[[], int]] = {
    "now": time.monotonic_ns,
    "resolution": lambda: _RESOLUTION_NS,
}
"""What is left of a narrowed interface, in nanoseconds; its other functions trap."""


def is_linked(interface: str) -> bool:
    """Whether a component may import this interface.

    >>> is_linked("wasi:io/poll@0.2.6"), is_linked("wasi:http/outgoing-handler@0.2.6")
    (True, False)
    """
    return _LINKED.fullmatch(interface) is not None


def is_narrowed(interface: str) -> bool:
    """Whether most of this interface is replaced by a trap.

    >>> is_narrowed("wasi:clocks/monotonic-clock@0.2.0"), is_narrowed("wasi:io/poll@0.2.0")
    (True, False)
    """
    return _NARROWED.fullmatch(interface) is not None
