"""Threads that nobody waits for.

A name server that does not answer holds a thread for half a minute, and a disk that is gone
holds one for ever. Threads of the standard pool are waited for when a loop closes and again
when the program ends, as uvloop's own are; deadlines would be worth nothing.
"""

import errno
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class ForgottenThreads(ThreadPoolExecutor):
    """An executor of daemon threads, which neither loop nor interpreter waits for.

    Where the system has no thread to give, those that there are do all of it; `submit` raises
    OSError when there is none.

    Args:
        max_workers: how many there are at the most; what comes besides waits in line.
    """

    def __init__(self, max_workers: int, name: str = "forgotten") -> None:
        super().__init__(max_workers)
        self._name = name
        self._lock = threading.Lock()
        self._may_start = max_workers
        self._line: deque[Callable[[], None]] = deque()

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

        with self._lock:
            self._line.append(run)
            if self._may_start:
                self._start_thread()
        return outcome

    def _start_thread(self) -> None:
        try:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        except RuntimeError:
            if self._may_start < self._max_workers:
                return  # one that there is comes to it
            self._line.pop()
            raise OSError(errno.EAGAIN, "no thread can be started") from None
        self._may_start -= 1

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._line:
                    self._may_start += 1
                    return
                run = self._line.popleft()
            run()
