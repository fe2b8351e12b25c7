"""Ends a guest at a moment of the wall clock, or as soon as nobody wants its answer.

Epoch ticks are late under load, so their number is no measure of time: when a guest's
ticks are used up, the clock decides whether it stops or gets more.
"""

import ctypes
import math
import time

import wasmtime
from wasmtime import _bindings as c  # the binding has no public epoch callback

from backends.embedded import short_calls
from backends.embedded.engine import TICK_S

_LOOK_EVERY_TICKS = 5
_CONTINUE = 0
_NO_FINALIZER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)()
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_size_t,
    ctypes.POINTER(c.wasmtime_context_t),
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_uint64),
    ctypes.POINTER(c.wasmtime_update_deadline_kind_t),
)


class Deadline:
    """The end of one guest's time.

    Args:
        at: when, on the clock of time.monotonic().
    """

    def __init__(self, at: float) -> None:
        self.at = at
        self.passed = False  # the guest was stopped because its time was up
        self.interrupted = False
        self._callback = _CALLBACK(self._look)

    def interrupt(self) -> None:
        """Stop the guest within a few ticks; safe from any thread, at any time."""
        self.interrupted = True

    def arm(self, store: wasmtime.Store) -> None:
        """Rule over `store`, which must not outlive this object."""
        short_calls.epoch_deadline_callback(store.ptr(), self._callback, None, _NO_FINALIZER)
        store.set_epoch_deadline(self._ticks())

    def _ticks(self) -> int:
        left = math.ceil((self.at - time.monotonic()) / TICK_S)
        return max(1, min(_LOOK_EVERY_TICKS, left))

    def _look(self, _context: object, _data: object, delta: object, kind: object) -> int:
        self.passed = time.monotonic() >= self.at
        if self.passed or self.interrupted:
            error = c.wasmtime_error_new(b"the guest was stopped")
            return ctypes.cast(error, ctypes.c_void_p).value or 0
        delta[0] = self._ticks()  # type: ignore[index]  # ctypes pointers have no usable type
        kind[0] = _CONTINUE  # type: ignore[index]  # ctypes pointers have no usable type
        return 0
