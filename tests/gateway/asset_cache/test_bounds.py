"""Nothing in the cache grows without end."""

import asyncio
import gc
import hashlib
from pathlib import Path
from weakref import ref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.contract import AssetResponse
from gateway.asset_cache.answer import RequestFields, answer_from
from gateway.asset_cache.bodies import SLICE_BYTES, sliced
from gateway.asset_cache.entry import OVERHEAD_BYTES, Entry
from gateway.asset_cache.grants import Grants
from gateway.asset_cache.memory import LARGEST_FILE_BYTES, Memory
from tests.backends.calls import CONTENT_HASH, EXTENSION, TENANT
from tests.clock import Clock
from tests.fakes.runner import UiFile
from tests.gateway.asset_cache.rig import MIB, SCRIPT, Rig

KEY = ("sha256:aa", "a.js")
CALLER = ("ext-1", "tenant-1")


def entry(size: int) -> Entry:
    body = b"x" * size
    return Entry(hashlib.sha256(body).hexdigest(), body, (("content-type", "text/css"),))


steps = st.lists(
    st.tuples(
        st.sampled_from(["put", "get", "grow", "forget"]),
        st.integers(0, 12),
        st.integers(0, 60_000),
    )
)


@given(steps)
def test_memory_is_never_more_than_its_bound(steps: list[tuple[str, int, int]]) -> None:
    memory = Memory(150_000)
    held: dict[int, Entry] = {}
    for step, number, size in steps:
        key = ("sha256:aa", f"{number}.js")
        match step:
            case "put":
                held[number] = entry(size)
                memory.put(key, held[number])
            case "get":
                memory.get(key)
            case "grow" if number in held:
                held[number].add_variant("gzip", b"y" * (size // 2))
                memory.recount(key, held[number])
            case "forget":
                memory.forget(key)
        keys = [("sha256:aa", f"{each}.js") for each in range(13)]
        there = [found for each in keys if (found := memory.get(each)) is not None]
        assert memory.used_bytes == sum(each.cost for each in there) <= 150_000
        assert len(memory) == len(there)


async def test_a_part_of_a_file_takes_no_memory_of_its_own() -> None:
    file = entry(2 * SLICE_BYTES)
    part = answer_from(file, RequestFields(range="bytes=1-")).body
    assert isinstance(part, memoryview)
    assert part.obj is file.body
    body = sliced(part)
    assert not isinstance(body, bytes)
    assert b"".join([each async for each in body]) == file.body[1:]


async def test_whoever_may_answer_again_holds_no_file(rig: Rig) -> None:
    await rig.get()
    asked = (EXTENSION, CONTENT_HASH, "app.js", TENANT)
    answer, part = rig.cache.hit(*asked), rig.cache.hit(*asked, range="bytes=0-1")
    assert answer is not None
    assert part is not None
    again, held = rig.cache.again(*asked, answer), ref(answer)
    assert again is not None
    assert again() == SCRIPT
    assert rig.cache.again(*asked, part) is None
    del answer
    rig.cache.reconfigure(max_bytes=0, folder=None)
    gc.collect()
    assert again() is None
    assert held() is None


def test_the_longest_unused_goes_first() -> None:
    memory = Memory(3 * (1000 + OVERHEAD_BYTES))
    for name in ("a", "b", "c"):
        memory.put(("h", name), entry(1000))
    memory.get(("h", "a"))
    memory.put(("h", "d"), entry(1000))
    assert memory.get(("h", "b")) is None
    assert memory.get(("h", "a")) is not None
    assert memory.evictions == 1


def test_the_largest_file_is_eight_mebibytes_or_a_quarter() -> None:
    assert Memory(128 * MIB).largest_bytes == LARGEST_FILE_BYTES == 8 * MIB
    assert Memory(16 * MIB).largest_bytes == 4 * MIB


def test_grants_expire_and_are_never_more_than_their_bound() -> None:
    clock = Clock()
    grants = Grants(lifetime_s=10, max_grants=3, clock=clock)
    for number in range(5):
        grants.allow(KEY, ("ext-1", str(number)), "tag", answered_at=clock.now)
    assert len(grants) == 3
    assert not grants.covers(KEY, ("ext-1", "1"), "tag")
    assert grants.covers(KEY, ("ext-1", "2"), "tag")
    clock.now += 10
    assert not grants.covers(KEY, ("ext-1", "4"), "tag")


def test_a_grant_is_about_one_file_as_it_was() -> None:
    grants = Grants(clock=Clock())
    grants.allow(KEY, CALLER, "tag", answered_at=1000)
    assert grants.covers(KEY, CALLER, "tag")
    assert not grants.covers(KEY, CALLER, "another")
    assert not grants.covers(("sha256:aa", "b.js"), CALLER, "tag")
    assert not grants.covers(KEY, ("ext-2", "tenant-1"), "tag")
    assert not grants.covers(KEY, ("ext-1", None), "tag")


async def test_files_make_room_for_others(rig: Rig) -> None:
    rig.cache.reconfigure(max_bytes=MIB, folder=None)
    for number in range(20):
        body = bytes([number]) * 100_000
        rig.runner.files[f"{number}.png"] = UiFile(body=body, content_type="image/png")
        assert (await rig.get(f"{number}.png")).body == body
        await rig.cache.settled()
        assert rig.cache.stats().bytes <= MIB
    stats = rig.cache.stats()
    assert stats.entries == 10
    assert stats.evictions == 10
    assert rig.hit("19.png")
    assert not rig.hit("9.png")


@pytest.mark.parametrize("folder", [False, True])
async def test_files_that_are_read_slowly_are_bounded_though_they_were_dropped(
    rig: Rig, tmp_path: Path, folder: bool
) -> None:
    rig.cache.reconfigure(max_bytes=2 * MIB, folder=tmp_path if folder else None)
    rig.cache._fills._max_bytes = 3 * MIB
    for number in range(20):
        body = bytes([number]) * (MIB // 2 - 100)
        rig.runner.files[f"{number}.png"] = UiFile(body=body, content_type="image/png")
    read: list[AssetResponse] = []

    async def begin(number: int) -> None:
        response = await rig.open(f"{number}.png")
        assert not isinstance(response.body, bytes)
        await anext(aiter(response.body))
        read.append(response)
        await rig.cache.settled()

    for number in range(20):  # from the runner, or from the disk the second time
        await begin(number)
        await begin(number)
        memory = rig.cache._kept.memory
        assert memory.used_bytes + memory.still_read_bytes <= 5 * MIB
    assert not rig.hit("19.png"), "there was no room to keep it"
    for response in read:
        assert not isinstance(response.body, bytes)
        await response.body.aclose()
    assert rig.cache._kept.memory.still_read_bytes == 0
    await rig.get("19.png")
    await rig.cache.settled()
    assert rig.hit("19.png")


async def test_files_that_many_ask_of_the_disk_at_once_are_bounded(
    rig: Rig, tmp_path: Path
) -> None:
    rig.cache.reconfigure(max_bytes=2 * MIB, folder=tmp_path)
    rig.cache._fills._max_bytes = 3 * MIB
    names = [f"{number}.png" for number in range(30)]
    for number, name in enumerate(names):
        body = bytes([number]) * (MIB // 2 - 100)
        rig.runner.files[name] = UiFile(body=body, content_type="image/png")
        await rig.get(name)
        await rig.cache.settled()
    rig.cache.reconfigure(max_bytes=2 * MIB, folder=tmp_path)
    opened = await asyncio.gather(*map(rig.open, names))
    memory = rig.cache._kept.memory
    assert memory.used_bytes + memory.still_read_bytes <= 5 * MIB
    for response in opened:
        assert not isinstance(response.body, bytes)
        await response.body.aclose()


def test_what_comes_back_into_memory_is_not_counted_twice() -> None:
    memory, file = Memory(MIB), entry(1000)
    memory.put(KEY, file)
    memory.forget(KEY)
    memory.put(KEY, file)
    assert memory.still_read_bytes == 0


async def test_that_a_compressed_form_is_unchanged_can_be_said_again(rig: Rig) -> None:
    await rig.get(accept_encoding="gzip")
    await rig.get(accept_encoding="gzip")
    await rig.cache.settled()
    asked = (EXTENSION, CONTENT_HASH, "app.js", TENANT)
    compressed = rig.cache.hit(*asked, accept_encoding="gzip")
    assert compressed is not None
    etag = dict(compressed.headers)["etag"]
    unchanged = rig.cache.hit(*asked, etag, accept_encoding="gzip")
    assert unchanged is not None
    assert (unchanged.status, dict(unchanged.headers)["etag"]) == (304, etag)
    assert rig.cache.again(*asked, unchanged) is not None
