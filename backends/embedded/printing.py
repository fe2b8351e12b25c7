"""What a guest prints, which is where language runtimes say why they end: lines in the log.

The engine hands it over in a thread of its own, which knows no session; hence the keys.
"""

import ctypes
import itertools
from typing import Any, Final

import wasmtime
from wasmtime import _bindings as c  # the binding offers files alone

from backends.embedded.host.call import Call
from backends.embedded.host.guest_log import MAX_MESSAGE_BYTES, printed
from backends.embedded.short_calls import NO_FINALIZER

_STREAMS: Final = ("stdout", "stderr")
_WRITE: Final = ctypes.CFUNCTYPE(
    ctypes.c_ssize_t, ctypes.c_void_p, ctypes.POINTER(ctypes.c_ubyte), ctypes.c_size_t
)


class Printing:
    """Standard output and standard error of one call, from `attach` until `end`."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._unfinished = dict.fromkeys(_STREAMS, b"")
        self._key = next(_keys)

    def attach(self, config: wasmtime.WasiConfig) -> None:
        """Have what is written to the streams of `config` come here."""
        _printing[self._key] = self
        pointer = config.ptr()
        c.wasi_config_set_stdout_custom(pointer, _STDOUT, self._key, NO_FINALIZER)
        c.wasi_config_set_stderr_custom(pointer, _STDERR, self._key, NO_FINALIZER)

    def end(self) -> None:
        """Log what has no end of line; nothing comes here any more."""
        if _printing.pop(self._key, None) is not None:
            for stream, rest in self._unfinished.items():
                self._log(stream, rest)

    def take(self, stream: str, data: bytes) -> None:
        """Log the lines that `data` ends, and keep what it begins, as far as a line may go."""
        *lines, rest = (self._unfinished[stream] + data).split(b"\n")
        for line in lines:
            self._log(stream, line)
        while len(rest) >= MAX_MESSAGE_BYTES:
            self._log(stream, rest[:MAX_MESSAGE_BYTES])
            rest = rest[MAX_MESSAGE_BYTES:]
        self._unfinished[stream] = rest

    def _log(self, stream: str, line: bytes) -> None:
        if text := line.decode(errors="replace").rstrip():
            printed(self._call, stream, text)


_keys: Final = itertools.count(1)
_printing: Final[dict[int, Printing]] = {}


def _taking(stream: str) -> Any:
    def take(key: int, data: Any, size: int) -> int:
        try:
            if (printing := _printing.get(key)) is not None:
                printing.take(stream, ctypes.string_at(data, size))
        except Exception:  # noqa: BLE001, S110 - nothing may be raised into native code
            pass
        return size  # the engine ends the process over any other number

    return _WRITE(take)


_STDOUT, _STDERR = map(_taking, _STREAMS)
