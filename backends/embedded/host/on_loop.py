"""From a guest's thread to the event loop and back, within a deadline."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

T = TypeVar("T")


class Unanswered(Exception):
    """The loop did not finish the work in time, or is closing."""


def run_on_loop(
    loop: asyncio.AbstractEventLoop,
    work: Callable[[], Coroutine[Any, Any, T]],
    timeout_s: float,
) -> T:
    """Run `work` on `loop` and wait for it here; must not be called from the loop's own thread.

    What has not finished after `timeout_s` seconds is cancelled.

    Raises:
        Unanswered: out of time, or the loop is closed. Whatever `work` raises passes through.
    """
    if timeout_s <= 0:
        raise Unanswered
    coroutine = work()
    try:
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError as closed:
        coroutine.close()
        raise Unanswered from closed
    try:
        return future.result(timeout_s)
    except (TimeoutError, CancelledError) as late:
        future.cancel()
        raise Unanswered from late
