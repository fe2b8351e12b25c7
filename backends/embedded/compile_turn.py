"""Whose turn it is to compile a component, among the processes that share a folder."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from backends.files.lock import file_lock

POLL_S: Final = 0.1


@asynccontextmanager
async def compile_turn(lock: Path | None, *, deadline_s: float) -> AsyncIterator[None]:
    """Hold `lock` while the block runs, so that others wait, and then find what was compiled.

    It saves work and protects nothing: without a lock, where it cannot be made, and when somebody
    else has held it for all of `deadline_s`, the block runs all the same. A process that dies
    lets go of it.
    """
    give_up_at = time.monotonic() + deadline_s
    with ExitStack() as held:
        while lock is not None and time.monotonic() < give_up_at:
            try:
                held.enter_context(file_lock(lock, deadline_s=0.0))  # waits for nothing
            except TimeoutError:
                await asyncio.sleep(POLL_S)
            except OSError:
                break
            else:
                held.callback(lock.unlink, missing_ok=True)
                break
        yield
