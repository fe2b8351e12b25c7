"""From SIGHUP or an admin's call to a new generation, and to a receipt.

plan -> build -> probe -> warm -> switch -> drain -> close. Until the switch everything
happens beside the traffic and is undone whole when a step fails; the switch itself is one
synchronous step; the drain follows in the background.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass

import structlog

from backends.contract import BackendHealth, Readiness, RunnerBackend
from backends.settings import BackendSettings
from backends.slot import Generation
from gateway import settings as settings_module
from gateway.installs.contract import Installs
from gateway.live import Live
from gateway.probe import Prober
from gateway.receipts import Receipt, Receipts
from gateway.settings import Settings, SettingsError
from gateway.warming import warm

_log = structlog.get_logger("reload")

BUILD_S = 30.0
PROBE_S = 5.0

OpenBackend = Callable[[BackendSettings], Awaitable[RunnerBackend]]
OpenInstalls = Callable[[Settings], Installs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Openers:
    """How the parts of a generation are made."""

    backend: OpenBackend
    installs: OpenInstalls


class _Refused(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Reloader:
    """Runs one reload at a time.

    Args:
        load: reads the settings anew; raises SettingsError.
        on_commit: told the new settings at the switch (the log level follows it).
    """

    def __init__(
        self,
        live: Live,
        prober: Prober,
        receipts: Receipts,
        openers: Openers,
        *,
        load: Callable[[], Settings],
        on_commit: Callable[[Settings], None] = lambda _: None,
    ) -> None:
        self._live = live
        self._prober = prober
        self._receipts = receipts
        self._openers = openers
        self._load = load
        self._on_commit = on_commit
        self._one_at_a_time = asyncio.Lock()
        self._signalled = False
        self._tasks: set[asyncio.Task[None]] = set()

    def signalled(self) -> None:
        """Reload soon. Signals that come before that reload has begun are one reload."""
        if self._signalled:
            return
        self._signalled = True
        self._in_background(self._reload_for_signal(), name="reload")

    async def _reload_for_signal(self) -> None:
        async with self._one_at_a_time:
            self._signalled = False
            await self._reload(plan=False, trigger="signal")

    async def reload(self, *, plan: bool = False, trigger: str = "admin") -> Receipt:
        """Reload now, after whatever reload is running.

        Args:
            plan: go as far as the probe, then undo; the receipt says what would happen.
        """
        async with self._one_at_a_time:
            return await self._reload(plan=plan, trigger=trigger)

    async def aclose(self) -> None:
        """Stop what runs in the background; the slot closes the generations."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _reload(self, *, plan: bool, trigger: str) -> Receipt:
        began = time.monotonic()
        current = self._live.slot.current
        receipt = Receipt(
            generation=current.number,
            outcome="refused",
            from_=current.identity.kind,
            to=None,
            trigger=trigger,
            plan=plan,
        )
        try:
            await self._attempt(receipt)
        except SettingsError as refused:
            receipt.reason = "settings_invalid"
            receipt.problems = [
                {"variable": bad.variable, "problem": bad.problem, "fix": bad.fix}
                for bad in refused.problems
            ]
        except _Refused as refused:
            receipt.reason = refused.reason
        except Exception:  # noqa: BLE001
            # Whatever it was, the old generation still serves; the receipt must say so.
            _log.exception("reload_failed", trigger=trigger)
            receipt.reason = "internal_error"
        receipt.took_ms = _ms_since(began)
        self._receipts.add(receipt)
        event = "backend_swapped" if receipt.outcome == "switched" else f"reload_{receipt.outcome}"
        _log.info(f"{event}_planned" if plan else event, **receipt.as_json())
        return receipt

    async def _attempt(self, receipt: Receipt) -> None:
        old = self._live.settings
        # The env file may be on a slow disk or a network mount.
        new = await asyncio.to_thread(self._load)
        receipt.changed = list(settings_module.changed(old, new))
        receipt.restart_needed = list(settings_module.restart_needed(old, new))
        receipt.pinned_by_environment = list(new.pinned)
        receipt.to = _kind(new)
        if set(receipt.changed) <= set(receipt.restart_needed):
            receipt.outcome = "unchanged"
            return
        new = settings_module.with_static_of(new, old)
        async with AsyncExitStack() as undo:
            candidate = await self._build(new.backend)
            undo.push_async_callback(candidate.aclose)
            installs = self._openers.installs(new)
            undo.push_async_callback(installs.aclose)
            health = await self._probe(candidate)
            receipt.outcome = "switched"
            if receipt.plan:
                return
            await warm(candidate, installs)
            undo.pop_all()
        self._switch(receipt, new, candidate, installs, health)

    async def _build(self, settings: BackendSettings) -> RunnerBackend:
        try:
            async with asyncio.timeout(BUILD_S):
                return await self._openers.backend(settings)
        except TimeoutError:
            raise _Refused("backend_open_timeout") from None
        except (OSError, ValueError) as why:
            _log.warning("backend_not_opened", error=type(why).__name__)
            raise _Refused("backend_not_opened") from why

    async def _probe(self, candidate: RunnerBackend) -> BackendHealth:
        try:
            async with asyncio.timeout(PROBE_S):
                health = await candidate.health()
        except TimeoutError:
            raise _Refused("probe_timeout") from None
        if health.readiness is not Readiness.READY:
            raise _Refused(health.detail or "backend_not_ready")
        return health

    def _switch(
        self,
        receipt: Receipt,
        settings: Settings,
        candidate: RunnerBackend,
        installs: Installs,
        health: BackendHealth,
    ) -> None:
        old_installs, drain_s = self._live.installs, self._live.settings.drain_s
        old = self._live.slot.switch(candidate)
        self._live.commit(settings, installs)
        receipt.generation = self._live.slot.current.number
        receipt.in_flight_at_switch = old.in_flight
        self._prober.interval_s = settings.probe_interval_s
        self._prober.record(receipt.generation, health)
        self._on_commit(settings)
        self._in_background(
            self._retire(receipt, old, old_installs, drain_s), name=f"drain-{old.number}"
        )

    async def _retire(
        self, receipt: Receipt, old: Generation, installs: Installs, drain_s: float
    ) -> None:
        began = time.monotonic()
        retirement = await self._live.slot.retire(old, within_s=drain_s)
        await installs.aclose()
        receipt.drained_ms = _ms_since(began)
        receipt.cut_off = retirement.cut_off
        _log.info(
            "generation_retired",
            generation=old.number,
            drained=retirement.drained,
            cut_off=retirement.cut_off,
            drained_ms=receipt.drained_ms,
        )

    def _in_background(self, work: Coroutine[None, None, None], *, name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _kind(settings: Settings) -> str:
    return str(settings.variables.runner_backend)


def _ms_since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 3)
