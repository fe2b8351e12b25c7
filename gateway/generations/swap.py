"""The phases of a swap, for whoever decides about it: prepare, then commit or abort.

Prepare builds, probes and warms a candidate beside the traffic. Until the commit, which is
one synchronous step, nothing that serves has noticed; an abort leaves no trace. One process
alone runs the phases in a row; workers run each of them together.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import structlog

from backends.contract import BackendHealth, Readiness, RunnerBackend
from backends.errors import BackendError
from backends.slot import Generation
from gateway.callers.auth import CallerAuth, caller_auth
from gateway.callers.jwt_key_fetching import KeysNotFetched
from gateway.generations.live import Live
from gateway.generations.probe import Prober
from gateway.generations.warming import WARM_S, warm
from gateway.installs.contract import Installs
from gateway.settings import Settings

BUILD_S = 30.0
PROBE_S = 5.0
PREPARE_S = BUILD_S + PROBE_S + WARM_S
"""The longest that a prepare takes."""

OpenBackend = Callable[[Settings], Awaitable[RunnerBackend]]
OpenInstalls = Callable[[Settings], Installs]

_log = structlog.get_logger("swap")


@dataclass(frozen=True, slots=True, kw_only=True)
class Openers:
    """How the parts of a generation are made."""

    backend: OpenBackend
    installs: OpenInstalls


class Refused(Exception):
    """The candidate may not serve; `reason` is one machine word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What could serve next. Whoever holds one owes it a commit or an abort."""

    settings: Settings
    backend: RunnerBackend
    installs: Installs
    auth: CallerAuth  # the one that serves now, when nothing about it changes
    health: BackendHealth


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """How the generation ended that a commit replaced."""

    drained_ms: float
    cut_off: int  # calls that outlived the drain cap


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """What a commit has done, and what is still to come of it."""

    generation: int  # that serves from now on
    in_flight_at_switch: int
    drained: "asyncio.Task[Drained]"


class Swapper:
    """Carries the phases out on one process's live state.

    Args:
        on_commit: told the new settings at the switch (the log level follows it).
    """

    def __init__(
        self,
        live: Live,
        prober: Prober,
        openers: Openers,
        *,
        on_commit: Callable[[Settings], None] = lambda _: None,
    ) -> None:
        self.live = live
        self._prober = prober
        self._openers = openers
        self._on_commit = on_commit
        self._retiring: set[asyncio.Task[Drained]] = set()

    async def prepare(self, settings: Settings, *, warmed: bool) -> Candidate:
        """Build, probe and, when `warmed`, warm what could serve these settings.

        Raises:
            Refused: it does not work, and is closed again.
        """
        async with AsyncExitStack() as undo:
            backend = await self._build(settings)
            undo.push_async_callback(backend.aclose)
            installs = self._openers.installs(settings)
            undo.push_async_callback(installs.aclose)
            health = await _probe(backend)
            auth = await self._auth(settings, undo)
            if warmed:
                await warm(backend, installs)
            undo.pop_all()
        return Candidate(
            settings=settings, backend=backend, installs=installs, auth=auth, health=health
        )

    async def abort(self, candidate: Candidate) -> None:
        """Close a candidate that will not serve."""
        async with AsyncExitStack() as undo:
            undo.push_async_callback(candidate.backend.aclose)
            undo.push_async_callback(candidate.installs.aclose)
            if candidate.auth is not self.live.auth:
                undo.push_async_callback(candidate.auth.aclose)

    def commit(self, candidate: Candidate) -> Committed:
        """Let the candidate serve. Synchronous: no request sees a half of it.

        The generation that it replaces drains and closes in the background.
        """
        live = self.live
        old_installs, old_auth, drain_s = live.installs, live.auth, live.settings.drain_s
        old = live.slot.switch(candidate.backend)
        live.commit(candidate.settings, candidate.installs, candidate.auth)
        generation = live.slot.current.number
        self._prober.interval_s = candidate.settings.probe_interval_s
        self._prober.record(generation, candidate.health)
        self._on_commit(candidate.settings)
        retiring = asyncio.create_task(
            self._retire(old, old_installs, old_auth, drain_s), name=f"drain-{old.number}"
        )
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)
        return Committed(generation=generation, in_flight_at_switch=old.in_flight, drained=retiring)

    async def aclose(self) -> None:
        """Stop waiting for what drains; the slot closes the generations."""
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)

    async def _build(self, settings: Settings) -> RunnerBackend:
        try:
            async with asyncio.timeout(BUILD_S):
                return await self._openers.backend(settings)
        except TimeoutError:
            raise Refused("backend_open_timeout") from None
        except BackendError as why:
            raise Refused(why.reason) from why
        except (OSError, ValueError) as why:
            _log.warning("backend_not_opened", error=type(why).__name__)
            raise Refused("backend_not_opened") from why

    async def _auth(self, new: Settings, undo: AsyncExitStack) -> CallerAuth:
        """The keys that are at hand stay at hand, unless they come from elsewhere now."""
        if new.auth == self.live.settings.auth:
            return self.live.auth
        auth = caller_auth(new.auth)
        undo.push_async_callback(auth.aclose)
        try:
            await auth.start()
        except KeysNotFetched as why:
            raise Refused(f"caller_keys_{why.reason}") from None
        return auth

    async def _retire(
        self, old: Generation, installs: Installs, auth: CallerAuth, drain_s: float
    ) -> Drained:
        began = time.monotonic()
        retirement = await self.live.slot.retire(old, within_s=drain_s)
        await installs.aclose()
        if auth is not self.live.auth:
            await auth.aclose()
        drained_ms = ms_since(began)
        note = _log.warning if retirement.cut_off else _log.info
        note(
            "generation_drained",
            generation=old.number,
            drained_ms=drained_ms,
            cut_off=retirement.cut_off,
        )
        return Drained(drained_ms=drained_ms, cut_off=retirement.cut_off)


async def _probe(backend: RunnerBackend) -> BackendHealth:
    try:
        async with asyncio.timeout(PROBE_S):
            health = await backend.health()
    except TimeoutError:
        raise Refused("probe_timeout") from None
    if health.readiness is not Readiness.READY:
        raise Refused(health.detail or "backend_not_ready")
    return health


def ms_since(began: float) -> float:
    """Milliseconds since `began`, of time.monotonic()."""
    return round((time.monotonic() - began) * 1000, 3)
