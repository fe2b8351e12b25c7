"""Handles SIGHUP and SIGUSR2, which ask for something, from the process's first moment to its last.

By default they end the process, and an event loop's handlers exist only while the loop does. So
handlers of the interpreter are used: what is asked for during the start is done after it, and what
is asked for during a stop is not done any more.
"""

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # `remember` has to run before it is loaded
    import asyncio

_ASKING: Final = (signal.SIGHUP, signal.SIGUSR2)
_early: Final[set[int]] = set()  # signals belong to the process, and so does this


def remember() -> None:
    """Note signals until `answer` is called for them. Call it before anything else."""
    for number in _ASKING:
        signal.signal(number, _note)


def answer(
    number: signal.Signals, do: Callable[[], Any], loop: "asyncio.AbstractEventLoop"
) -> None:
    """Call `do` in `loop` on every such signal, and now if one has come already.

    The loop must be running, and the handlers gone (`ignore`) before it is closed.
    """
    signal.signal(number, lambda *_: loop.call_soon_threadsafe(do))
    if number in _early:
        _early.discard(number)
        do()


def ignore() -> None:
    """A stop has begun: drop these signals from now on."""
    for number in _ASKING:
        signal.signal(number, signal.SIG_IGN)


def _note(number: int, _: object) -> None:
    _early.add(number)
