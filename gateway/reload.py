"""From SIGHUP or an admin's call to a new generation, and to a receipt.

load -> plan -> prepare -> commit -> drain. Whatever fails before the commit changes nothing.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import structlog

from gateway import settings as settings_module
from gateway.receipts import Receipt, Receipts
from gateway.settings import Settings, SettingsError
from gateway.swap import Committed, Refused, Swapper, ms_since

_log = structlog.get_logger("reload")


class Reloading(Protocol):
    """How a process is told to reload, whether it decides that alone or not."""

    def signalled(self) -> None:
        """Reload soon. Signals that come before that reload has begun are one reload."""

    async def reload(self, *, plan: bool = False, trigger: str = "admin") -> Receipt:
        """Reload now, after whatever reload is running.

        Args:
            plan: go as far as the probe, then undo; the receipt says what would happen.
        """

    async def aclose(self) -> None:
        """Stop what runs in the background."""


class Reloader:
    """Runs one reload at a time, in the one process that there is.

    Args:
        load: reads the settings anew; raises SettingsError.
    """

    def __init__(
        self, swapper: Swapper, receipts: Receipts, *, load: Callable[[], Settings]
    ) -> None:
        self._swapper = swapper
        self._receipts = receipts
        self._load = load
        self._one_at_a_time = asyncio.Lock()
        self._signalled = False
        self._tasks: set[asyncio.Task[Any]] = set()

    def signalled(self) -> None:
        """See Reloading."""
        if self._signalled:
            return
        self._signalled = True
        self._in_background(self._reload_for_signal(), name="reload")

    async def _reload_for_signal(self) -> None:
        async with self._one_at_a_time:
            self._signalled = False
            await self._reload(plan=False, trigger="signal")

    async def reload(self, *, plan: bool = False, trigger: str = "admin") -> Receipt:
        """See Reloading."""
        async with self._one_at_a_time:
            return await self._reload(plan=plan, trigger=trigger)

    async def aclose(self) -> None:
        """See Reloading."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _reload(self, *, plan: bool, trigger: str) -> Receipt:
        began = time.monotonic()
        current = self._swapper.live.slot.current
        receipt = Receipt(
            generation=current.number,
            outcome="refused",
            from_=current.identity.kind,
            to=None,
            trigger=trigger,
            plan=plan,
        )
        with refusals_noted(receipt):
            await self._attempt(receipt)
        close_receipt(receipt, self._receipts, began)
        return receipt

    async def _attempt(self, receipt: Receipt) -> None:
        # The env file may be on a slow disk or a network mount.
        loaded = await asyncio.to_thread(self._load)
        new = planned(receipt, self._swapper.live.settings, loaded)
        if new is None:
            return
        candidate = await self._swapper.prepare(new, warmed=not receipt.plan)
        receipt.outcome = "switched"
        if receipt.plan:
            await self._swapper.abort(candidate)
            return
        committed = self._swapper.commit(candidate)
        receipt.generation = committed.generation
        receipt.in_flight_at_switch = committed.in_flight_at_switch
        self._in_background(_note_drain(receipt, committed), name="note-drain")

    def _in_background(self, work: Coroutine[None, None, None], *, name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _note_drain(receipt: Receipt, committed: Committed) -> None:
    drained = await committed.drained
    receipt.drained_ms, receipt.cut_off = drained.drained_ms, drained.cut_off


def planned(receipt: Receipt, old: Settings, loaded: Settings) -> Settings | None:
    """Note what `loaded` changes; the settings to switch to, or None when nothing changes.

    Raises:
        SettingsError: what a reload can change contradicts what it cannot.
    """
    receipt.changed = list(settings_module.changed(old, loaded))
    receipt.restart_needed = list(settings_module.restart_needed(old, loaded))
    receipt.pinned_by_environment = list(loaded.pinned)
    receipt.to = str(loaded.variables.runner_backend)
    if set(receipt.changed) <= set(receipt.restart_needed):
        receipt.outcome = "unchanged"
        return None
    return settings_module.with_static_of(loaded, old)


@contextmanager
def refusals_noted(receipt: Receipt) -> Iterator[None]:
    """Turn whatever stops the block into the reason of `receipt`, which says "refused"."""
    try:
        yield
    except SettingsError as refused:
        receipt.outcome, receipt.reason = "refused", "settings_invalid"
        receipt.problems = [
            {"variable": bad.variable, "problem": bad.problem, "fix": bad.fix}
            for bad in refused.problems
        ]
    except Refused as refused:
        receipt.outcome, receipt.reason = "refused", refused.reason
    except Exception:  # noqa: BLE001
        # Whatever it was, the old generation still serves; the receipt must say so.
        _log.exception("reload_failed", trigger=receipt.trigger)
        receipt.outcome, receipt.reason = "refused", "internal_error"


def close_receipt(receipt: Receipt, receipts: Receipts, began: float) -> None:
    """Say how long it took, keep it, log it."""
    receipt.took_ms = ms_since(began)
    receipts.add(receipt)
    event = "backend_swapped" if receipt.outcome == "switched" else f"reload_{receipt.outcome}"
    _log.info(f"{event}_planned" if receipt.plan else event, **receipt.as_json())
