"""Compiles components where it can be bounded: in a process of its own for each."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from backends.embedded.compile_child import REFUSED, out_of_memory
from backends.embedded.failures import GuestFailed
from backends.exit_status import WITHOUT_MEMORY

MAX_CPU_S: Final = 60
"""CPython takes 11 on one core of today, the sample's QuickJS 1.3."""

DEADLINE_S: Final = 120.0
"""Its CPU time ends it before, unless it hangs or the machine has hardly any to give."""

# How the compiler ends its process then.
_OUT_OF_MEMORY: Final = b"memory allocation of"
_OUT_OF_THREADS: Final = b"ThreadPoolBuildError"


async def compiled(component: Path, *, max_memory_mb: int, max_cpu_s: int = MAX_CPU_S) -> bytes:
    """The code of a component, in the form that an engine with our settings loads.

    Cancelling this ends the process.

    Raises:
        GuestFailed: execute_failed, when the component is none, or takes more than these bounds or
            DEADLINE_S; engine_init_failed when the process did not do its work, as where the
            system has no memory or no threads for it.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "backends.embedded.compile_child",
            str(component), str(max_memory_mb), str(max_cpu_s), str(os.getpid()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # What a terminal sends to the foreground is the gateway's to act on.
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise GuestFailed("engine_init_failed", f"compile: {type(error).__name__}") from error
    try:
        async with asyncio.timeout(DEADLINE_S):
            written, said = await process.communicate()
    except TimeoutError:
        raise _refused(f"it takes more than {DEADLINE_S:g} s") from None
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        # asyncio's `wait` is for the end of the output, too, of which it reads no more than a
        # little unless somebody asks.
        await process.communicate()
        status = await process.wait()
    if status == 0:
        return written
    if status == REFUSED:
        raise _refused(written.decode(errors="replace"))
    if status > 0:
        last = said.decode(errors="replace").strip().rpartition("\n")[2]
        raise GuestFailed("engine_init_failed", f"compile: {last}")
    if status == -signal.SIGKILL:  # it is the first to go where memory runs out, its own or not
        raise GuestFailed(
            "engine_init_failed",
            f"compile: {WITHOUT_MEMORY} (up to {max_memory_mb} MiB)",
        )
    if _OUT_OF_THREADS in said:
        raise GuestFailed("engine_init_failed", "compile: the system has no threads for it")
    if status == -signal.SIGXCPU:
        raise _refused(f"it takes more than {max_cpu_s} s of CPU time")
    if _OUT_OF_MEMORY in said:
        raise _refused(out_of_memory(max_memory_mb))
    raise _refused(f"the compiler ended by {signal.Signals(-status).name}")


def _refused(why: str) -> GuestFailed:
    return GuestFailed("execute_failed", f"compile: {why}")
