"""From SIGHUP or an admin's call to a new generation, and to a receipt.

load -> plan -> prepare -> commit -> drain. Whatever fails before the commit changes nothing.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final, Protocol

import structlog

from gateway import settings as settings_module
from gateway.done_before import done_before
from gateway.generations.receipts import Receipt, Receipts
from gateway.generations.swap import Committed, Refused, Swapper, ms_since
from gateway.ignored_variables import Ignored
from gateway.settings import SettingProblem, Settings, SettingsError
from gateway.variables.declared import DEFAULT_ENV_FILE

_GONE: Final = SettingProblem(
    # Everything at its default would be a gateway that trusts every caller.
    variable="GATEWAY_ENV_FILE",
    problem=f"is not set, and {DEFAULT_ENV_FILE}, which was read before, is not there any more",
    fix="Put it back, an empty one if the defaults are meant",
)

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


class Attempt(Protocol):
    """Who carries a reload out."""

    @property
    def serving(self) -> tuple[int, str]:
        """Generation and kind of the backend that serves now."""

    async def run(self, receipt: Receipt) -> None:
        """Reload, and say on `receipt` what came of it.

        Raises:
            SettingsError: the settings cannot be used.
            Refused: they can, and do not work.
        """

    async def aclose(self) -> None:
        """Stop what runs in the background."""


class Reloader:
    """Runs one reload at a time, and writes its receipt."""

    def __init__(
        self,
        attempt: Attempt,
        receipts: Receipts,
        *,
        on_receipt: Callable[[], None] = lambda: None,
    ) -> None:
        self._attempt = attempt
        self._receipts = receipts
        self._on_receipt = on_receipt
        self._one_at_a_time = asyncio.Lock()
        self._reloads: set[asyncio.Task[Receipt]] = set()
        self._is_waiting = False
        self._closed = asyncio.Event()

    def signalled(self) -> None:
        """See Reloading."""
        if not (self._is_waiting or self._closed.is_set()):
            self._is_waiting = True
            self._keep(asyncio.create_task(self._reload_for_signal(), name="reload"))

    async def _reload_for_signal(self) -> Receipt:
        async with self._one_at_a_time:
            self._is_waiting = False
            return await self._reload(plan=False, trigger="signal")

    async def reload(self, *, plan: bool = False, trigger: str = "admin") -> Receipt:
        """See Reloading. What has begun is finished, whatever becomes of the one who asked."""
        task = asyncio.create_task(self._reload_in_turn(plan, trigger), name="reload")
        self._keep(task)
        return await asyncio.shield(task)

    async def _reload_in_turn(self, plan: bool, trigger: str) -> Receipt:
        async with self._one_at_a_time:
            return await self._reload(plan=plan, trigger=trigger)

    def _keep(self, task: asyncio.Task[Receipt]) -> None:
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def aclose(self) -> None:
        """See Reloading. What runs is undone, and refused as is whatever comes from now on."""
        self._closed.set()
        await asyncio.gather(*self._reloads, return_exceptions=True)
        await self._attempt.aclose()

    async def _reload(self, *, plan: bool, trigger: str) -> Receipt:
        began = time.monotonic()
        generation, kind = self._attempt.serving
        receipt = Receipt(
            generation=generation,
            outcome="refused",
            from_=kind,
            to=None,
            trigger=trigger,
            plan=plan,
        )
        with _refusals_noted(receipt):
            if self._closed.is_set():
                raise Refused("stopping")
            is_done = await done_before(self._closed, self._attempt.run(receipt))
            if not is_done and receipt.outcome != "switched":  # which cannot be undone any more
                raise Refused("stopping")
        receipt.took_ms = ms_since(began)
        self._receipts.add(receipt)
        _note(receipt)
        self._on_receipt()
        return receipt


class Sole:
    """Carries a reload out in the one process that there is.

    Args:
        load: reads the settings anew; raises SettingsError.
    """

    def __init__(self, swapper: Swapper, load: Callable[[], Settings]) -> None:
        self._swapper = swapper
        self._load = load
        self._ignored = Ignored(swapper.live.settings)
        self._drains: set[asyncio.Task[None]] = set()

    @property
    def serving(self) -> tuple[int, str]:
        """See Attempt."""
        current = self._swapper.live.slot.current
        return current.number, current.identity.kind

    async def run(self, receipt: Receipt) -> None:
        """See Attempt."""
        # The files of settings may be on a slow disk or a network mount.
        loaded = await asyncio.to_thread(self._load)
        self._ignored.loaded(loaded)
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
        task = asyncio.create_task(_note_drain(receipt, committed), name="note-drain")
        self._drains.add(task)
        task.add_done_callback(self._drains.discard)

    async def aclose(self) -> None:
        """See Attempt."""
        for task in self._drains:
            task.cancel()
        await asyncio.gather(*self._drains, return_exceptions=True)


def _note(receipt: Receipt) -> None:
    """Log it, as a warning when something was asked for that has not happened."""
    event = "backend_swapped" if receipt.outcome == "switched" else f"reload_{receipt.outcome}"
    is_missed = receipt.outcome == "refused" or receipt.restart_needed
    # Of a dry run nothing is missed: whoever asks is told in the answer.
    note = _log.warning if is_missed and not receipt.plan else _log.info
    note(f"{event}_planned" if receipt.plan else event, **receipt.as_json())


async def _note_drain(receipt: Receipt, committed: Committed) -> None:
    drained = await committed.drained
    receipt.drained_ms, receipt.cut_off = drained.drained_ms, drained.cut_off


def planned(receipt: Receipt, old: Settings, loaded: Settings) -> Settings | None:
    """Note what `loaded` changes.

    Returns:
        The settings to switch to; None when nothing changes.

    Raises:
        SettingsError: what a reload can change contradicts what it cannot, or the env file is gone.
    """
    if old.env_file is not None and loaded.env_file is None:
        raise SettingsError((_GONE,), loaded.pinned)
    receipt.changed = list(settings_module.changed(old, loaded))
    receipt.restart_needed = list(settings_module.restart_needed(old, loaded))
    receipt.pinned_by_environment = list(loaded.pinned)
    receipt.to = str(loaded.variables.runner_backend)
    if set(receipt.changed) <= set(receipt.restart_needed):
        receipt.outcome = "unchanged"
        return None
    return settings_module.with_static_of(loaded, old)


@contextmanager
def _refusals_noted(receipt: Receipt) -> Iterator[None]:
    """Turn whatever stops the block into the reason of `receipt`, which says "refused"."""
    try:
        yield
    except SettingsError as refused:
        receipt.outcome, receipt.reason = "refused", "settings_invalid"
        receipt.problems = list(map(asdict, refused.problems))
        receipt.pinned_by_environment = list(refused.pinned)
    except Refused as refused:
        receipt.outcome, receipt.reason = "refused", refused.reason
    except Exception:  # noqa: BLE001
        # Whatever it was, the old generation still serves; the receipt must say so.
        _log.exception("reload_failed", trigger=receipt.trigger)
        receipt.outcome, receipt.reason = "refused", "internal_error"
