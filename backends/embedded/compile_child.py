"""Compiles one component within bounds: a program of its own, started by `compiling`.

`python -m backends.embedded.compile_child FILE MAX_MEMORY_MB MAX_CPU_S PARENT`.

A process of its own, because what a compiler takes is up to whoever wrote the component: a
file of a few hundred bytes, once unpacked, asks for gigabytes and minutes.
"""

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import wasmtime
from wasmtime import component as wit

from backends.embedded import code_settings

MAX_CODE_MB: Final = 128
"""Of the result, which the gateway has to read: 34 for CPython, 3.5 for the sample's QuickJS."""

REFUSED: Final = os.EX_DATAERR
"""The exit status when standard output says why the component cannot be compiled."""

_THREADS: Final = 4  # each takes memory, so what a component needs must not depend on the machine
_MIB: Final = 1_048_576
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)


def main(file: Path, max_memory_mb: int, max_cpu_s: int, parent: int) -> int:
    """Write the compiled code to standard output. Returns the exit status."""
    if not _ends_with(parent):
        return os.EX_UNAVAILABLE
    with suppress(ValueError):  # macOS counts addresses, of which every process has more than that
        _limit(resource.RLIMIT_DATA, max_memory_mb * _MIB)
    _limit(resource.RLIMIT_CPU, max_cpu_s)
    _limit(resource.RLIMIT_CORE, 0)
    with suppress(OSError):  # where memory runs out all the same, this process goes first
        Path("/proc/self/oom_score_adj").write_text("1000")
    os.putenv("RAYON_NUM_THREADS", str(_THREADS))
    os.putenv("RUST_BACKTRACE", "0")  # making one takes memory: it hangs where there is none left
    try:
        code = wit.Component(wasmtime.Engine(code_settings.config()), file.read_bytes()).serialize()
    except wasmtime.WasmtimeError as error:
        return _refuse(str(error))
    except MemoryError:
        return _refuse(out_of_memory(max_memory_mb))
    if len(code) > MAX_CODE_MB * _MIB:
        return _refuse(f"its code is larger than {MAX_CODE_MB} MiB")
    sys.stdout.buffer.write(code)
    sys.stdout.buffer.flush()
    return os.EX_OK


def _ends_with(parent: int) -> bool:
    """Have the system end this process when its parent ends, where it can: on Linux.

    Returns whether the parent is still there: nobody hears a compiler whose gateway was killed.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == parent


def out_of_memory(max_memory_mb: int) -> str:
    """Why a component that needs more is refused."""
    return f"it takes more than {max_memory_mb} MiB of memory (RUNNER_COMPILE_MEMORY_MB)"


def _limit(what: int, bound: int) -> None:
    _, hard = resource.getrlimit(what)
    if hard != resource.RLIM_INFINITY:
        bound = min(bound, hard)
    resource.setrlimit(what, (bound, hard))


def _refuse(reason: str) -> int:
    sys.stdout.buffer.write(reason.encode(errors="replace"))
    return REFUSED


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *map(int, sys.argv[2:])))
