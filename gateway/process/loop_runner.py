"""Runs the event loop of a process, also where the system has no more threads for it."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.variables.unusable import is_out_of_threads


@contextmanager
def loop_runner(
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> Iterator[asyncio.Runner]:
    """An asyncio.Runner whose end needs no thread: by itself it waits in one for the others."""
    runner = asyncio.Runner(loop_factory=factory)
    try:
        yield runner
    finally:
        try:
            runner.close()
        except RuntimeError as why:  # the loop is closed all the same
            if not is_out_of_threads(why):
                raise
