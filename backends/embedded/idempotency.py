"""One run per idempotency key: duplicates share its answer, now or within ten minutes.

Keys are scoped to their caller and call (`scoped_key`), so nobody replays another's answer. Only
what a guest answered is remembered: a call that failed may be tried again.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from backends.contract import ExecuteRequest, ExecuteResult
from backends.errors import Phase, RunnerOverloaded, RunnerProtocolError, RunnerTimeout
from backends.idempotency_scope import scoped_key

_SAFE_METHODS = frozenset({"GET", "HEAD"})
_ENTRY_OVERHEAD_BYTES = 1_024
_HASHED_AT_ONCE_BYTES = 262_144
"""A longer body would hold up the event loop."""

_REUSED = ExecuteResult(status=422, error="idempotency_key_reused")


@dataclass(slots=True)
class _Entry:
    digest: bytes
    run: asyncio.Task[ExecuteResult]
    expires: float = 0.0  # set when the run has ended
    size: int = 0


class IdempotentRuns:
    """Runs in progress and answers remembered. Belongs to one event loop.

    Args:
        max_entries: runs and answers together; the oldest answers are forgotten first.
        max_bytes: the answers' bodies and headers together.
        ttl_s: how long an answer is remembered after its run.
    """

    def __init__(
        self,
        *,
        max_entries: int = 10_000,
        max_bytes: int = 32 * 1_048_576,
        ttl_s: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._ttl_s = ttl_s
        self._clock = clock
        self._running: dict[str, _Entry] = {}
        self._answered: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._running) + len(self._answered)

    async def run(
        self, request: ExecuteRequest, work: Callable[[], Coroutine[object, object, ExecuteResult]]
    ) -> ExecuteResult:
        """Do `work`, or give the answer of a call with the same key.

        A caller that goes away does not stop the work: it comes back with the same key to
        learn how it ended. The work's own deadline bounds it.

        Raises:
            RunnerTimeout: the shared run outlasted this caller's budget.
            RunnerProtocolError: the run was given up because its backend was closed.
            BackendError: what the shared run raised.
        """
        key = None if request.method in _SAFE_METHODS else scoped_key(request)
        if key is None:
            return await work()
        large = len(request.body or b"") > _HASHED_AT_ONCE_BYTES
        digest = await asyncio.to_thread(_digest, request) if large else _digest(request)
        self._expire()
        entry = self._running.get(key) or self._answered.get(key)
        if entry is None:
            entry = self._start(key, digest, work)
        elif entry.digest != digest:
            return _REUSED
        try:
            async with asyncio.timeout(request.timeout_s):
                return await asyncio.shield(entry.run)
        except TimeoutError:
            raise RunnerTimeout(phase=Phase.TOTAL, budget_s=request.timeout_s) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if entry.run.cancelled() and not (task and task.cancelling()):
                raise RunnerProtocolError("closed", phase=Phase.EXECUTE) from None
            raise

    async def aclose(self) -> None:
        """Cancel the runs and forget the answers."""
        runs = [entry.run for entry in self._running.values()]
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)
        self._answered.clear()
        self._bytes = 0

    def _start(
        self, key: str, digest: bytes, work: Callable[[], Coroutine[object, object, ExecuteResult]]
    ) -> _Entry:
        if len(self._running) >= self._max_entries:
            raise RunnerOverloaded("too_many_idempotent_runs")
        entry = _Entry(digest, asyncio.create_task(work()))
        self._running[key] = entry
        entry.run.add_done_callback(lambda run: self._ended(key, entry, run))
        return entry

    def _ended(self, key: str, entry: _Entry, run: asyncio.Task[ExecuteResult]) -> None:
        del self._running[key]
        if run.cancelled() or run.exception() is not None or run.result().error is not None:
            return
        entry.expires = self._clock() + self._ttl_s
        entry.size = _size(run.result())
        if entry.size > self._max_bytes:
            return
        self._answered[key] = entry
        self._bytes += entry.size
        while self._bytes > self._max_bytes or len(self) > self._max_entries:
            self._forget_oldest()

    def _expire(self) -> None:
        now = self._clock()
        while self._answered and next(iter(self._answered.values())).expires <= now:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        _, entry = self._answered.popitem(last=False)
        self._bytes -= entry.size


def _digest(request: ExecuteRequest) -> bytes:
    said = hashlib.sha256(repr((request.query, request.body is None)).encode())
    said.update(request.body or b"")
    return said.digest()


def _size(result: ExecuteResult) -> int:
    headers = sum(len(name) + len(value) for name, value in result.headers)
    return len(result.body or b"") + headers + _ENTRY_OVERHEAD_BYTES
