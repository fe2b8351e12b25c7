"""Threads that guests run in, and the bounded queue in front of them."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import structlog

from backends.contract import ExecuteResult
from backends.embedded.deadline import Deadline
from backends.embedded.execution import GuestRun
from backends.embedded.failures import GuestFailed
from backends.embedded.host.call import Call
from backends.embedded.prepared import PreparedGuest
from backends.errors import Phase, RunnerOverloaded, RunnerProtocolError, RunnerUnreachable
from backends.turn_writes import writes_of

_GRACE_S = 1.0
"""How long past its deadline a guest may take to notice; host functions keep to theirs."""

_Outcome = ExecuteResult | GuestFailed
_T = TypeVar("_T")

_log = structlog.get_logger()


class GuestPool:
    """Runs at most `max_concurrency` guests. Belongs to one event loop.

    Raises:
        RuntimeError: the system has not so many threads to give.
    """

    def __init__(self, *, max_concurrency: int, max_queue: int) -> None:
        self._threads = _started(max_concurrency)
        self._free_threads = asyncio.Semaphore(max_concurrency)
        self._max_calls = max_concurrency + max_queue
        self._calls = 0
        self._running: dict[asyncio.Future[_Outcome], Deadline] = {}
        self.closed = False

    @property
    def running(self) -> int:
        """Guests inside a thread, those nobody waits for any more included."""
        return len(self._running)

    @property
    def calls(self) -> int:
        """Calls admitted: waiting for a thread, or running."""
        return self._calls

    @contextmanager
    def place(self) -> Iterator[None]:
        """Count one call from admission to answer.

        Raises:
            RunnerOverloaded: too many calls run or wait already.
            RunnerUnreachable: the pool is closed.
        """
        self._refuse_when_closed()
        if self._calls >= self._max_calls:
            raise RunnerOverloaded("queue_full", retry_after_s=1)
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    async def run(
        self,
        guest: PreparedGuest,
        call_until: Callable[[float], Call],
        *,
        until: float,
        limit_s: float,
        memory_mb: int,
    ) -> ExecuteResult:
        """Wait for a free thread, run the guest, and give its answer.

        A guest of known short calls runs at once, on the loop's thread; the others, and
        those that turn out not to be short, in a thread of their own. Cancelling this
        interrupts the guest; its thread is free again once it has ended.

        Args:
            call_until: makes the call's facts for host functions from the deadline.
            until: the end of the whole call, on the clock of time.monotonic().
            limit_s: what the guest itself may take.

        Raises:
            GuestFailed: the guest gave no answer.
            RunnerOverloaded: no thread became free in time, so the guest did not run.
            RunnerUnreachable, RunnerProtocolError: the pool was closed before, or meanwhile.
        """
        await self._take_thread(until)
        deadline = Deadline(min(until, time.monotonic() + limit_s))
        run = GuestRun(guest, call_until(deadline.at), deadline, memory_mb)
        if run.is_short:
            writes_of(asyncio.get_running_loop()).flush()  # others' answers need not wait for it
            try:
                outcome = _attempt(run.turn)
            except BaseException:
                self._free_threads.release()
                raise
            if outcome is not None:
                self._free_threads.release()
                return self._judged(outcome, deadline)
        future = asyncio.get_running_loop().run_in_executor(self._threads, _attempt, run.finish)
        self._running[future] = deadline
        future.add_done_callback(self._ended)
        return await self._answer(future, deadline)

    async def aclose(self, timeout_s: float) -> None:
        """Interrupt every guest and wait for their threads, at most `timeout_s`."""
        self.closed = True
        for deadline in self._running.values():
            deadline.interrupt()
        if self._running:
            _, stuck = await asyncio.wait(tuple(self._running), timeout=timeout_s)
            if stuck:
                _log.error("guests_left_running", guests=len(stuck))
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _take_thread(self, until: float) -> None:
        if self._free_threads.locked():
            try:
                async with asyncio.timeout(until - time.monotonic()):
                    await self._free_threads.acquire()
            except TimeoutError:
                raise RunnerOverloaded("queue_timeout", retry_after_s=1) from None
        else:
            await self._free_threads.acquire()  # at once
        try:
            self._refuse_when_closed()
        except RunnerUnreachable:
            self._free_threads.release()
            raise

    def _refuse_when_closed(self) -> None:
        if self.closed:
            raise RunnerUnreachable("closed", phase=Phase.ADMIT)

    def _ended(self, future: asyncio.Future[_Outcome]) -> None:
        del self._running[future]
        self._free_threads.release()

    async def _answer(self, future: asyncio.Future[_Outcome], deadline: Deadline) -> ExecuteResult:
        try:
            grace = deadline.at - time.monotonic() + _GRACE_S
            done, _ = await asyncio.wait({future}, timeout=grace)
        except asyncio.CancelledError:
            deadline.interrupt()
            raise
        if not done:
            raise GuestFailed("execute_timeout", "the guest's thread did not come back")
        return self._judged(future.result(), deadline)

    def _judged(self, outcome: _Outcome, deadline: Deadline) -> ExecuteResult:
        if isinstance(outcome, ExecuteResult):
            return outcome
        if self.closed and deadline.interrupted:
            raise RunnerProtocolError("closed", phase=Phase.EXECUTE)
        raise outcome


def _started(size: int) -> ThreadPoolExecutor:
    """An executor whose threads are there, so that no call comes to one that cannot be started."""
    threads = ThreadPoolExecutor(size, thread_name_prefix="guest")
    all_there = threading.Barrier(size)  # a thread that waits at it takes no second task
    try:
        for _ in range(size):
            threads.submit(all_there.wait)
    except RuntimeError:
        all_there.abort()
        threads.shutdown(wait=False)
        raise
    return threads


def _attempt(work: Callable[[], _T]) -> _T | GuestFailed:
    """Return a failure instead of raising it: nobody may be left to retrieve it."""
    try:
        return work()
    except GuestFailed as failure:
        return failure
    except Exception as error:  # noqa: BLE001 - a fault of ours must not hang the caller
        return GuestFailed("execute_failed", type(error).__name__)
