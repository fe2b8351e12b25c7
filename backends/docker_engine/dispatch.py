"""Which container a call goes to, what happens when that one dies, and how long to wait for one.

A container that is rebuilt is another one at another address. Calls that come meanwhile are
held, so that a developer who saves a file sees a slow answer instead of a refused one; both
their number and their time are bounded.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from backends.contract import Readiness
from backends.docker_engine.replicas import Replica, Replicas
from backends.docker_engine.watch import ContainerWatch, Snapshot
from backends.errors import (
    BackendError,
    Phase,
    RunnerNotConfigured,
    RunnerProtocolError,
    RunnerUnreachable,
)
from backends.upstream.runner_client import RunnerClient
from backends.upstream.transport import ConnectionLost

MAX_HELD: Final = 64
HOLD_S: Final = 10.0
REBUILD_S: Final = 60.0
"""How long after the last healthy container its successor is still waited for."""
NOTICE_S: Final = 1.0
"""How long the engine may take to notice a death that a refused connection has shown."""
RETRY_AFTER_S: Final = 2
_NO_ENGINE: Final = (
    "Start a Docker engine, or set RUNNER_DOCKER_HOST or RUNNER_BASE_URL to the runner's address."
)

T = TypeVar("T")
_log = structlog.get_logger("backends.docker")


class Dispatch:
    """Sends each call to one replica, and once more to another when nothing was sent.

    Args:
        hold_s: how long a call waits for a container at most, within its own budget.
        max_held: how many calls wait at once.
    """

    def __init__(
        self,
        watch: ContainerWatch,
        replicas: Replicas,
        *,
        hold_s: float = HOLD_S,
        max_held: int = MAX_HELD,
    ) -> None:
        self._watch = watch
        self._replicas = replicas
        self._hold_s = hold_s
        self._max_held = max_held
        self._last_ready: float | None = None
        self.held = 0
        self.retries = 0

    def noticed(self, snapshot: Snapshot) -> None:
        """Remember when some container last took calls. Call it with every snapshot."""
        if snapshot.taken or self._replicas.ready:
            self._last_ready = time.monotonic()

    async def send(
        self,
        call: Callable[[RunnerClient, float], Awaitable[T]],
        *,
        timeout_s: float,
        repeatable: bool,
    ) -> T:
        """Run `call(client, seconds left)` on a replica.

        Args:
            repeatable: sending it twice does no harm, as with GET.

        Raises:
            RunnerUnreachable: no container takes calls, after waiting for one.
            RunnerNotConfigured: there is not even an engine to look for one.
            RunnerProtocolError: "container_gone": it ended with the call under way.
            BackendError: whatever else the client raises.
        """
        ends = time.monotonic() + timeout_s
        replica = await self._first(ends)
        try:
            return await call(replica.client, ends - time.monotonic())
        except BackendError as failure:
            replica.doubtful = isinstance(failure, RunnerUnreachable | ConnectionLost)
            if self._watch.closed or not _may_go_elsewhere(failure, replica, repeatable):
                raise self._told_honestly(failure, replica) from None
            _log.info("runner_call_moved", container=replica.candidate.name, error=failure.reason)
        self.retries += 1
        replica = await self._after(replica, ends)
        try:
            return await call(replica.client, ends - time.monotonic())
        except BackendError as failure:
            raise self._told_honestly(failure, replica) from None

    async def _first(self, ends: float) -> Replica:
        replica = self._replicas.pick()
        if replica is not None and replica.doubtful:
            # A proxy of the engine's takes connections for a container that is dead already.
            await self._watch.refresh()
            if self._watch.snapshot.fault and not await _answers(replica, ends - time.monotonic()):
                if replica in self._replicas.ready:
                    raise self._nobody()  # unsent: better than another call that breaks off
            else:
                replica.doubtful = False
            replica = self._replicas.pick()
        return replica or await self._hold(ends)

    async def _after(self, failed: Replica, ends: float) -> Replica:
        """Another replica, or the same when the engine insists that it is well."""
        await self._watch.refresh()
        if failed in self._replicas.ready and self._replicas.pick(but=failed) is None:
            # Its process may be dying while the engine has yet to notice.
            within_s = min(NOTICE_S, ends - time.monotonic())
            await self._watch.wait_until(
                lambda _: (
                    failed not in self._replicas.ready
                    or self._replicas.pick(but=failed) is not None
                ),
                within_s,
            )
        return self._replicas.pick(but=failed) or (
            failed if failed in self._replicas.ready else await self._hold(ends)
        )

    async def _hold(self, ends: float) -> Replica:
        if self._watch.closed:
            raise RunnerUnreachable("backend_closed", phase=Phase.ADMIT)
        if self.held >= self._max_held or not self._expects_one():
            raise self._nobody()
        within_s = min(self._hold_s, ends - time.monotonic())
        self.held += 1
        try:
            # Not pick() alone: a snapshot may come and go while this call waits for its turn.
            await self._watch.wait_until(lambda _: bool(self._replicas.ready), within_s)
        finally:
            self.held -= 1
        if self._watch.closed:
            raise RunnerUnreachable("backend_closed", phase=Phase.ADMIT)
        replica = self._replicas.pick()
        if replica is None:
            raise self._nobody()
        return replica

    def _expects_one(self) -> bool:
        if any(each.coming for each in self._watch.snapshot.candidates):
            return True
        return self._last_ready is not None and time.monotonic() - self._last_ready < REBUILD_S

    def _told_honestly(self, failure: BackendError, replica: Replica) -> BackendError:
        """Say that the container is gone, where its client says that it was closed."""
        if self._watch.closed or not replica.gone or failure.reason != "backend_closed":
            return failure
        if failure.safe_to_retry:
            return self._nobody()
        return RunnerProtocolError("container_gone", phase=failure.phase)

    def _nobody(self) -> BackendError:
        """Why there is nobody, in the word that health() has for it, too."""
        why, _ = self._watch.snapshot.why_none
        if self._watch.found_no_engine:
            return RunnerNotConfigured(why, advice=_NO_ENGINE)
        return RunnerUnreachable(why, phase=Phase.ADMIT, retry_after_s=RETRY_AFTER_S)


def _may_go_elsewhere(failure: BackendError, replica: Replica, repeatable: bool) -> bool:
    """Whether nothing of the call can have been processed, or processing it twice is harmless."""
    if isinstance(failure, RunnerUnreachable):
        return True
    if isinstance(failure, ConnectionLost):
        return repeatable or not failure.sent
    return repeatable and replica.gone and failure.reason == "backend_closed"


async def _answers(replica: Replica, within_s: float) -> bool:
    """What an engine that is away cannot say, asked of the runner itself; harmless to it."""
    try:
        async with asyncio.timeout(within_s):
            return (await replica.client.health()).readiness is Readiness.READY
    except TimeoutError:
        return False
