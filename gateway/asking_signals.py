"""SIGHUP and SIGUSR2: they ask a serving process for something, from its first moment to its last.

By default they end it, and an event loop's own handlers are there only as long as the loop is. So
the interpreter takes them: what is asked for during the start is done after it, and what is asked
for during a stop is not done any more.
"""

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # there is something to be done before it is loaded
    import asyncio

_ASKING: Final = (signal.SIGHUP, signal.SIGUSR2)
_early: Final[set[int]] = set()  # signals belong to the process, and so does this


def remember() -> None:
    """Keep in mind what is asked for, until somebody can do it. To be called before anything."""
    for number in _ASKING:
        signal.signal(number, _note)


def answer(
    number: signal.Signals, do: Callable[[], Any], loop: "asyncio.AbstractEventLoop"
) -> None:
    """Do it in `loop` whenever it is asked for, and now if it has been asked for already.

    The loop must be running, and the handlers gone (`ignore`) before it is closed.
    """
    signal.signal(number, lambda *_: loop.call_soon_threadsafe(do))
    if number in _early:
        _early.discard(number)
        do()


def ignore() -> None:
    """A stop has begun."""
    for number in _ASKING:
        signal.signal(number, signal.SIG_IGN)


def _note(number: int, _: object) -> None:
    _early.add(number)
