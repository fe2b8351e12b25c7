"""A switch never reaches into a call that has begun."""

import asyncio
from collections.abc import Mapping

from backends.contract import (
    AssetRequest,
    AssetResponse,
    BackendHealth,
    BackendIdentity,
    BackendKind,
    BackendStats,
    ExecuteRequest,
    ExecuteResult,
    Histogram,
    Readiness,
    RunnerBackend,
)
from backends.slot import Slot

NOTHING = BackendStats()


class NamedBackend:
    """The least that a slot can hold: it only knows whether it was closed."""

    def __init__(self, name: str, done: BackendStats = NOTHING) -> None:
        self.identity = BackendIdentity(kind=BackendKind.EMBEDDED, name=name)
        self.closed = 0
        self._done = done

    async def execute(self, request: ExecuteRequest, /) -> ExecuteResult:
        return ExecuteResult(status=200)

    async def fetch_asset(self, request: AssetRequest, /) -> AssetResponse:
        return AssetResponse(status=200)

    def resolve_ui_url(
        self,
        extension_id: str,
        content_hash: str,
        client_path: str = "/",
        *,
        tenant_id: str | None = None,
    ) -> str:
        return client_path

    async def health(self) -> BackendHealth:
        return BackendHealth(readiness=Readiness.READY)

    async def metadata(self) -> Mapping[str, object]:
        return {}

    def stats(self) -> BackendStats:
        return self._done

    async def warm(self, content_hash: str, /) -> None: ...

    def page_fetched(self, page: AssetRequest, /) -> None: ...

    async def aclose(self) -> None:
        self.closed += 1


_guard: type[RunnerBackend] = NamedBackend


async def test_a_lease_keeps_its_generation_through_any_number_of_switches() -> None:
    old = NamedBackend("old")
    slot = Slot(old)
    with slot.lease() as leased:
        for turn in range(3):
            slot.switch(NamedBackend(f"new-{turn}"))
        assert leased.identity.name == "old"
        assert leased.number == 1
        assert slot.current.number == 4
        with slot.lease() as later:
            assert later.identity.name == "new-2"


async def test_the_old_generation_is_closed_only_when_its_last_lease_is_back() -> None:
    old = NamedBackend("old")
    slot = Slot(old)
    with slot.lease():
        replaced = slot.switch(NamedBackend("new"))
        retiring = asyncio.create_task(slot.retire(replaced, within_s=5))
        await asyncio.sleep(0)
        assert slot.draining == (replaced,)
        assert not retiring.done()
    assert (await retiring).drained
    assert old.closed == 1
    assert not slot.draining


async def test_the_cap_ends_a_drain_and_says_how_many_were_cut_off() -> None:
    old = NamedBackend("old")
    slot = Slot(old)
    with slot.lease(), slot.lease():
        retirement = await slot.retire(slot.switch(NamedBackend("new")), within_s=0)
    assert not retirement.drained
    assert retirement.cut_off == 2
    assert old.closed == 1


async def test_closing_the_slot_closes_every_generation() -> None:
    first, second = NamedBackend("first"), NamedBackend("second")
    slot = Slot(first)
    slot.switch(second)
    await slot.aclose(within_s=1)
    assert first.closed == 1
    assert second.closed == 1


async def test_a_generation_that_nobody_waits_for_any_more_is_closed_with_the_slot() -> None:
    first = NamedBackend("first")
    slot = Slot(first)
    with slot.lease():
        retiring = asyncio.create_task(
            slot.retire(slot.switch(NamedBackend("second")), within_s=60)
        )
        await asyncio.sleep(0)
        retiring.cancel()
        await asyncio.wait([retiring])
        assert first.closed == 0
        await slot.aclose(within_s=0)
    assert first.closed == 1


async def test_what_was_counted_goes_on_through_swaps() -> None:
    def counted(retries: int, starts: int) -> BackendStats:
        waits = Histogram(bounds_s=(1.0,), counts=(starts, 1), total_s=2.0)
        return BackendStats(connections_idle=4, retries=retries, cold_starts=waits)

    slot = Slot(NamedBackend("first", counted(3, 5)))
    old = slot.switch(NamedBackend("second", counted(1, 0)))
    both = Histogram(bounds_s=(1.0,), counts=(5, 2), total_s=4.0)
    assert slot.stats() == {
        BackendKind.EMBEDDED: BackendStats(connections_idle=8, retries=4, cold_starts=both)
    }
    await slot.retire(old, within_s=1.0)
    assert slot.stats() == {
        BackendKind.EMBEDDED: BackendStats(connections_idle=4, retries=4, cold_starts=both)
    }
    await slot.retire(slot.switch(NamedBackend("third", counted(2, 0))), within_s=1.0)
    before = slot.stats()[BackendKind.EMBEDDED]
    assert before.retries == 6
    await slot.aclose(within_s=1.0)  # a worker says farewell when everything is closed
    assert slot.stats()[BackendKind.EMBEDDED] == before
