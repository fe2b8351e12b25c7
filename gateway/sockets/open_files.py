"""Logs when the table of open files is full, so that no connection can be accepted.

uvloop closes such connections without a word, and asyncio logs each of them. So neither is asked:
a process that cannot open a file cannot accept a connection either.
"""

import asyncio
import errno
import os
import resource
import time
from typing import Any, Final

import structlog

from gateway.state import State

LOOK_EVERY_S: Final = 1.0
REPEAT_S: Final = 60.0
_FULL: Final = frozenset({errno.EMFILE, errno.ENFILE})  # this process's table, the system's
_OF_ASYNCIO: Final = "socket.accept() out of system resource"

_log = structlog.get_logger("serve")


async def watch_open_files(state: State) -> None:
    """Log it when the table becomes full, once a minute while it stays so, and when it ends.

    Args:
        state: is told at each look whether the table is full.
    """
    asyncio.get_running_loop().set_exception_handler(_handle)
    said_at: float | None = None
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        state.open_files_exhausted = _is_full()
        if not state.open_files_exhausted:
            if said_at is not None:
                _log.info("open_files_available")
                said_at = None
        elif said_at is None or time.monotonic() - said_at >= REPEAT_S:
            said_at = time.monotonic()
            limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            _log.error("open_files_exhausted", limit=limit, refused="new connections")


def _is_full() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as why:
        return why.errno in _FULL
    return False


def _handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if context.get("message") != _OF_ASYNCIO:
        loop.default_exception_handler(context)
