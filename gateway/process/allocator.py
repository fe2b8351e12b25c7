"""Tell glibc's allocator to keep what large bodies were held in, but not for long.

By itself it gives the memory of every block past 128 KiB back to the kernel, and asks for it
again, page by page, for the next body: that was half the cost of passing 200 KiB on. Told to
keep all of it, a process stays as large as it was in its busiest moment. So it keeps it for
some seconds.
"""

import asyncio
import ctypes
from typing import Final

MIB: Final = 1024 * 1024
GIVE_BACK_EVERY_S: Final = 2.0

# The parameters of mallopt(3), from malloc.h.
_TRIM_THRESHOLD: Final = -1
_TOP_PAD: Final = -2
_MMAP_THRESHOLD: Final = -3


def keep_large_blocks() -> bool:
    """Raise the thresholds; whether there was an allocator that has them.

    Does nothing on musl, macOS and Windows.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    settings = ((_TRIM_THRESHOLD, 512 * MIB), (_TOP_PAD, 16 * MIB), (_MMAP_THRESHOLD, 32 * MIB))
    return all([mallopt(parameter, size) == 1 for parameter, size in settings])


async def give_back_at_intervals() -> None:
    """Return to the kernel, now and then, what nobody uses; ends only where that cannot be done.

    Costs 50 us when there is nothing to return and 1 ms for 30 MiB, and what is needed again
    is faulted in again: too little to wait for a quiet moment, which may never come.
    """
    try:
        malloc_trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return
    malloc_trim.argtypes, malloc_trim.restype = (ctypes.c_size_t,), ctypes.c_int
    while True:
        await asyncio.sleep(GIVE_BACK_EVERY_S)
        # In a thread: the call lets go of the interpreter's lock, and requests run meanwhile.
        await asyncio.to_thread(malloc_trim, 0)
