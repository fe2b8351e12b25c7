"""Keeps one view of the runner's containers current.

An event only says that it is time to look: every change leads to a full list, because events
are lost when a stream breaks, and a list cannot be wrong. The list is also made when nothing
happens, which notices a stream that has gone silent with its engine.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from backends.docker_engine.address import EngineAddress, EngineNotFound
from backends.docker_engine.candidates import PROJECT, Candidate, Scope, choose, nearest
from backends.docker_engine.client import Engine, EngineError
from backends.docker_engine.documents import section
from backends.docker_engine.reachability import Viewpoint

DEBOUNCE_S: Final = 0.2
RELIST_S: Final = 15.0
FIRST_LIST_S: Final = 5.0
BACKOFF_S: Final = (0.2, 5.0)
_NOT_ASKED_YET: Final = "engine_not_asked_yet"

_log = structlog.get_logger("backends.docker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The containers as they were at one moment."""

    candidates: tuple[Candidate, ...] = ()
    fault: str | None = None  # why the engine did not answer last; candidates are older then
    advice: str = ""

    @property
    def taken(self) -> tuple[Candidate, ...]:
        """Those that take calls."""
        return tuple(each for each in self.candidates if each.taken)

    @property
    def is_empty(self) -> bool:
        """No container of the service is in sight, not even a sick one: a fallback counts."""
        return not self.candidates

    @property
    def why_none(self) -> tuple[str, str]:
        """Why no container takes calls, in a word, and what to do about it."""
        if self.fault:
            return self.fault, self.advice
        if self.taken:  # as far as the engine knows
            return "no_healthy_container", ""
        return nearest(self.candidates)


class ContainerWatch:
    """Lists, listens, and lists again, for as long as it is open.

    Args:
        find: says where the engine is; asked before every attempt to connect.
        own_container: this process's own container, when it may run in one.
        on_change: told every new snapshot, before anybody who waits for one.

    Attributes:
        snapshot: the latest view.
        address: the engine that was connected to last.
    """

    def __init__(
        self,
        find: Callable[[], EngineAddress],
        scope: Scope,
        *,
        own_container: str | None = None,
        on_change: Callable[[Snapshot], None] = lambda _: None,
    ) -> None:
        self.snapshot = Snapshot(fault=_NOT_ASKED_YET)
        self.address: EngineAddress | None = None
        self._find = find
        self._scope = scope
        self._own_container = own_container
        self._on_change = on_change
        self._engine: Engine | None = None
        self._changed = asyncio.Event()
        self._dirty = asyncio.Event()
        self._listing: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        """Look once, within five seconds, and go on in the background. Raises nothing."""
        self._watching = asyncio.create_task(self._forever(), name="docker-watch")
        await self.wait_until(lambda now: now.fault != _NOT_ASKED_YET, FIRST_LIST_S)

    async def refresh(self) -> None:
        """List now; callers that come meanwhile share one list. Raises nothing."""
        if self._engine is None or self._closed:
            return
        if self._listing is None or self._listing.done():
            self._listing = asyncio.create_task(self._list_or_fault(self._engine))
        await asyncio.wait([self._listing])

    async def wait_until(self, wanted: Callable[[Snapshot], bool], within_s: float) -> bool:
        """Wait for a snapshot like that; False when none came in time, or the watch closed."""
        try:
            async with asyncio.timeout(within_s):
                while not (satisfied := wanted(self.snapshot)) and not self._closed:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return satisfied

    async def next_change(self) -> None:
        """Wait for the next snapshot that differs, or the end of the watch."""
        if not self._closed:
            await self._changed.wait()

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def found_no_engine(self) -> bool:
        """Whether nothing has ever said where an engine is, or nothing that can be used."""
        return self.address is None and self.snapshot.fault != _NOT_ASKED_YET

    @property
    def engine(self) -> Engine:
        """The engine that is connected now.

        Raises:
            EngineError: none is.
        """
        if self._engine is None:
            raise EngineError(self.snapshot.fault or "engine_unreachable")
        return self._engine

    async def aclose(self) -> None:
        """Stop; whoever waits is told at once."""
        self._closed = True
        self._changed.set()
        tasks = [task for task in (self._watching, self._listing) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _forever(self) -> None:
        pause_s, longest_s = BACKOFF_S
        while True:
            try:
                async with self._connected() as engine:
                    began = f"{time.time():.9f}"
                    await self._list(engine)
                    pause_s = BACKOFF_S[0]
                    await self._follow(engine, since=began)
            except EngineNotFound as missing:
                self._publish_fault(missing.reason, missing.detail)
            except EngineError as failure:
                self._publish_fault(failure.reason)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, longest_s)

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Engine]:
        # Contexts and sockets are files: another may be current by now, on a slow disk.
        self.address = await asyncio.to_thread(self._find)
        engine = Engine(self.address)
        self._engine = engine
        try:
            yield engine
        finally:
            self._engine = None
            await engine.aclose()

    async def _follow(self, engine: Engine, *, since: str) -> None:
        """Until the stream or the engine ends. Raises EngineError.

        Args:
            since: before the first list, so that nothing falls between it and the stream. An
                engine whose clock is behind may still lose that; the next list finds it.
        """
        self._dirty.set()
        listening = asyncio.create_task(self._listen(engine, since), name="docker-listen")
        try:
            while not listening.done():
                await self._something_happened(listening)
                self._dirty.clear()
                await self._list(engine)
                await asyncio.sleep(DEBOUNCE_S)  # the first event counts at once, a storm as one
            await listening
            raise EngineError("engine_stream_ended")
        finally:
            listening.cancel()
            await asyncio.wait([listening])

    async def _something_happened(self, listening: asyncio.Task[None]) -> None:
        waiting = asyncio.create_task(self._dirty.wait())
        try:
            await asyncio.wait(
                [waiting, listening], timeout=RELIST_S, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            waiting.cancel()

    async def _listen(self, engine: Engine, since: str) -> None:
        async with contextlib.aclosing(engine.changes(since=since)) as changes:
            async for _ in changes:
                self._dirty.set()

    async def _list_or_fault(self, engine: Engine) -> None:
        try:
            await self._list(engine)
        except EngineError as failure:
            self._publish_fault(failure.reason)

    async def _list(self, engine: Engine) -> None:
        documents = await engine.containers(self._scope.labels)
        owners = await engine.owners(documents)
        view, scope = await self._viewpoint(engine)
        self._publish(Snapshot(candidates=choose(documents, scope, view, owners)))

    async def _viewpoint(self, engine: Engine) -> tuple[Viewpoint, Scope]:
        """Where this process stands; inside a compose project, that project is meant."""
        view = Viewpoint(engine_host=engine.address.remote_host)
        own = await engine.inspect(self._own_container) if self._own_container else None
        if own is None:
            return view, self._scope
        networks = section(own, "NetworkSettings", "Networks")
        project = section(own, "Config", "Labels").get(PROJECT)
        scope = self._scope
        if scope.project is None and isinstance(project, str):
            scope = Scope(service=scope.service, project=project)
        return Viewpoint(networks=frozenset(networks), engine_host=view.engine_host), scope

    def _publish_fault(self, reason: str, advice: str = "is the engine running?") -> None:
        # The containers may well live on without their engine: keep what was known.
        self._publish(Snapshot(candidates=self.snapshot.candidates, fault=reason, advice=advice))

    def _publish(self, snapshot: Snapshot) -> None:
        before, self.snapshot = self.snapshot, snapshot
        if before == snapshot:
            return
        _log.info(
            "runner_containers_changed",
            taken=[each.name for each in snapshot.taken],
            fault=snapshot.fault,
            reason=None if snapshot.taken else snapshot.why_none[0],
        )
        self._on_change(snapshot)
        waiting, self._changed = self._changed, asyncio.Event()
        waiting.set()
