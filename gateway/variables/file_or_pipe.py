"""Reads a file that may be a pipe: `<(...)` in a shell is one, and some keepers of secrets write
to one whenever somebody opens it."""

import errno
import os
import stat
import time
from pathlib import Path
from typing import IO, Final

WRITER_S: Final = 10.0
"""How long a pipe's writer may leave it unfinished."""

_LOOK_AGAIN_S: Final = 0.02


def read_at_most(path: Path, max_bytes: int) -> bytes:
    """The first `max_bytes` of it. Blocking.

    Raises:
        TimeoutError: a pipe that nobody has written to, or not to the end, in WRITER_S. One that
            was read before holds nothing, which nobody has meant by it.
        OSError, ValueError: it cannot be opened or read.
    """
    # Blocking, it would not even be opened before there is a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            return _read_pipe(file, max_bytes)
        os.set_blocking(descriptor, True)
        return file.read(max_bytes)


def _read_pipe(file: IO[bytes], max_bytes: int) -> bytes:
    content = b""
    until = time.monotonic() + WRITER_S
    while time.monotonic() < until:
        if part := file.read(max_bytes - len(content)):
            content += part
        elif content and part is not None:  # None: its writer has more to say
            return content
        else:
            time.sleep(_LOOK_AGAIN_S)
    raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
