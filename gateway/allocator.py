"""Tell glibc's allocator to keep what large bodies were held in.

By itself it gives the memory of every block past 128 KiB back to the kernel, and asks for it
again, page by page, for the next body: that was half the cost of passing 200 KiB on.
"""

import ctypes
from typing import Final

MIB: Final = 1024 * 1024

# The parameters of mallopt(3), from malloc.h.
_TRIM_THRESHOLD: Final = -1
_TOP_PAD: Final = -2
_MMAP_THRESHOLD: Final = -3


def keep_large_blocks() -> bool:
    """Raise the thresholds; whether there was an allocator that has them.

    Costs some 10 MiB of resident memory. Does nothing on musl, macOS and Windows.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    settings = ((_TRIM_THRESHOLD, 512 * MIB), (_TOP_PAD, 16 * MIB), (_MMAP_THRESHOLD, 32 * MIB))
    return all([mallopt(parameter, size) == 1 for parameter, size in settings])
