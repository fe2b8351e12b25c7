"""Runs the event loop of a process, also where the system has no more threads for it."""

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from backends.standing_threads import StandingThreads
from gateway.variables.unusable import is_out_of_threads


@contextmanager
def loop_runner(
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> Iterator[asyncio.Runner]:
    """An asyncio.Runner with threads that do what there is to do at a limit, too, and whose end
    needs no thread: by itself it waits in one for the others.

    Raises:
        OSError: EAGAIN, what runs needs a thread that the system does not give.
    """
    try:
        threads = StandingThreads()
        runner = asyncio.Runner(loop_factory=factory)
        try:
            runner.get_loop().set_default_executor(threads)
            yield runner
        finally:
            try:
                runner.close()
            except RuntimeError as why:  # the loop is closed all the same
                if not is_out_of_threads(why):
                    raise
    except RuntimeError as why:
        if not is_out_of_threads(why):
            raise
        # A refused process has this word, which counts against the same limit.
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from why
