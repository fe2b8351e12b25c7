"""Which call a thread's guest runs for, so that its clock and its host functions find it."""

import ctypes
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wasmtime import _bindings as c  # the binding has no public epoch callback

from backends.embedded import short_calls
from backends.embedded.deadline import Deadline
from backends.embedded.host.call import Call

_CONTINUE = 0
_YIELD = 1


@dataclass(slots=True, eq=False)
class Session:
    """One call on its way through the engine. In one thread at a time, not always the same."""

    call: Call
    deadline: Deadline
    turn_ends_s: float | None = None
    """On the clock of time.thread_time(): when the guest has to leave the event loop's thread.
    None: it is in a thread of its own, where its host functions may wait."""
    unfinished: Callable[[], None] | None = None
    """A host function that was called on the loop's thread, and is to run in the guest's own."""


class _Here(threading.local):
    session: Session


_here = _Here()


def current() -> Session:
    """The session of the guest that this thread is in."""
    return _here.session


class entered:  # noqa: N801 - read as a word: with entered(session)
    """Make `session` this thread's current one while the block runs."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def __enter__(self) -> None:
        _here.session = self._session

    def __exit__(self, *_: object) -> None:
        del _here.session


def enforce_deadline(store: Any, context: Any, session: Session) -> None:
    """Stop the guest in `store` at its deadline, and interrupt it when its turn on the loop ends.

    The engine calls back whenever the epoch has advanced so many ticks (`WasmEngine`).
    """
    short_calls.epoch_deadline_callback(store, _EPOCH_CALLBACK, None, short_calls.NO_FINALIZER)
    ticks = session.deadline.ticks() if session.turn_ends_s is None else 1
    short_calls.set_epoch_deadline(context, ticks)


def _on_epoch(_context: object, _data: object, delta: Any, kind: Any) -> int:
    session = current()
    if session.deadline.is_over():
        error = c.wasmtime_error_new(b"the guest was stopped")
        return ctypes.cast(error, ctypes.c_void_p).value or 0
    if session.turn_ends_s is None:
        delta[0], kind[0] = session.deadline.ticks(), _CONTINUE
    else:
        is_over = time.thread_time() >= session.turn_ends_s
        delta[0], kind[0] = 1, _YIELD if is_over else _CONTINUE
    return 0


_EPOCH_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_size_t,
    ctypes.POINTER(c.wasmtime_context_t),
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_uint64),
    ctypes.POINTER(c.wasmtime_update_deadline_kind_t),
)(_on_epoch)
