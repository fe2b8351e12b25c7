"""One writer at a time, across processes that share a folder."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK_DEADLINE_S = 60.0
_POLL_S = 0.01


@contextmanager
def file_lock(path: Path, *, deadline_s: float = LOCK_DEADLINE_S) -> Iterator[None]:
    """Hold an exclusive lock on `path`, which is created when missing.

    Blocking: for threads, never for an event loop. Excludes other threads of this process
    as well. The kernel releases it when the process dies. The holder may delete the file.

    Raises:
        TimeoutError: somebody else held it for all of `deadline_s`.
        OSError: the file cannot be created.
    """
    give_up_at = time.monotonic() + deadline_s
    descriptor = _acquire(path, give_up_at)
    try:
        yield
    finally:
        os.close(descriptor)


def _acquire(path: Path, give_up_at: float) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            if _try(descriptor, give_up_at) and _is_still(path, descriptor):
                held, descriptor = descriptor, -1
                return held
        finally:
            if descriptor >= 0:
                os.close(descriptor)


def _try(descriptor: int, give_up_at: float) -> bool:
    while True:
        with suppress(BlockingIOError):
            # flock belongs to the open file, not to the process, so threads exclude each other.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if time.monotonic() >= give_up_at:
            raise TimeoutError
        time.sleep(_POLL_S)


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the locked file is the one that others will find under this name."""
    with suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False
