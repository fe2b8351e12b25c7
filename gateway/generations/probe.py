"""Is the backend well? Asked in the background, so that nobody has to wait for the answer."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog

from backends.contract import BackendHealth, Readiness
from backends.slot import Slot

_log = structlog.get_logger("probe")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """What the last probe of one generation said."""

    generation: int
    health: BackendHealth
    at: float  # time.monotonic()

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.at

    @property
    def ready(self) -> bool:
        return self.health.readiness is Readiness.READY


class Prober:
    """Remembers the latest probe, and repeats it every `interval_s` seconds while it runs."""

    def __init__(self, slot: Slot, *, interval_s: float) -> None:
        self.interval_s = interval_s
        self._slot = slot
        self._last: ProbeResult | None = None

    @property
    def last(self) -> ProbeResult | None:
        """The latest word on the current generation; None before there is one."""
        if self._last is None or self._last.generation != self._slot.current.number:
            return None
        return self._last

    def record(self, generation: int, health: BackendHealth) -> None:
        """Take over a probe that somebody else has made, as a swap does of its candidate."""
        before = self._last
        self._last = ProbeResult(generation=generation, health=health, at=time.monotonic())
        if before is None or before.health.readiness is not health.readiness:
            self._note(generation, health)

    def _note(self, generation: int, health: BackendHealth) -> None:
        kind = self._slot.current.identity.kind
        if health.readiness is Readiness.DOWN:
            _log.warning(
                "runner_unreachable", backend=kind, generation=generation, detail=health.detail
            )
            return
        _log.info(
            "backend_probed",
            generation=generation,
            readiness=health.readiness.value,
            detail=health.detail,
        )

    async def probe_now(self) -> ProbeResult:
        """Ask the current generation once.

        Without a lease: a drain waits for callers, and a probe of a backend that is closed
        meanwhile says so instead of failing.
        """
        generation = self._slot.current
        health = await generation.backend.health()
        if generation is self._slot.current:
            self.record(generation.number, health)
        return ProbeResult(generation=generation.number, health=health, at=time.monotonic())

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Probe at once and then at every interval, for as long as the block runs."""
        task = asyncio.create_task(self._forever(), name="prober")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _forever(self) -> None:
        while True:
            await self.probe_now()
            await asyncio.sleep(self.interval_s)
