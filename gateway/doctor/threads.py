"""Threads that nobody waits for.

A name server that does not answer holds a thread for half a minute, and a disk that is gone
holds one for ever. Threads of the standard pool are waited for when a loop closes and again
when the program ends; deadlines would be worth nothing.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class ForgottenThreads(ThreadPoolExecutor):
    """An executor of daemon threads, which neither loop nor interpreter waits for."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        outcome: Future[T] = Future()

        def run() -> None:
            if not outcome.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as failure:  # noqa: BLE001  the waiter's to handle
                outcome.set_exception(failure)
            else:
                outcome.set_result(result)

        threading.Thread(target=run, daemon=True).start()
        return outcome
