"""Compiled components: compiled once, kept safely, forgotten within bounds."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from wasmtime import component as wit

from backends.bundles.store import BundleStore
from backends.embedded.compiled_cache import CompiledCache
from backends.embedded.compiling import compiled
from backends.embedded.engine import WasmEngine
from backends.embedded.failures import GuestFailed
from backends.embedded.guests import TRANSIENT, Guests
from backends.embedded.host.never_waits import HostFunction
from backends.errors import RunnerUnreachable
from tests.backends.embedded import wat

SHA256 = "a" * 64


@pytest.fixture
async def engine() -> AsyncIterator[WasmEngine]:
    engine = WasmEngine()
    yield engine
    engine.close()


@pytest.fixture
def code(engine: WasmEngine) -> bytes:
    return bytes(wit.Component(engine.native, wat.ECHO).serialize())


def test_what_one_process_compiled_another_loads(
    tmp_path: Path, engine: WasmEngine, code: bytes
) -> None:
    CompiledCache(tmp_path, engine).save(SHA256, code)
    assert CompiledCache(tmp_path, engine).load(SHA256) is not None


def test_nothing_is_loaded_for_another_engine_version(
    tmp_path: Path, engine: WasmEngine, code: bytes
) -> None:
    CompiledCache(tmp_path, engine).save(SHA256, code)
    (directory,) = tmp_path.iterdir()
    assert directory.name == engine.fingerprint
    directory.rename(tmp_path / "wasmtime-0.0.0-other")
    assert CompiledCache(tmp_path, engine).load(SHA256) is None


@pytest.mark.parametrize("name", ["", "short", "../" * 20, "a" * 63 + "\n"])
def test_what_is_no_hash_names_no_file(
    tmp_path: Path, engine: WasmEngine, code: bytes, name: str
) -> None:
    cache = CompiledCache(tmp_path, engine)
    cache.save(name, code)
    assert list(tmp_path.rglob("*.cwasm")) == []
    assert cache.load(name) is None


def test_a_directory_that_others_may_write_to_is_not_used(
    tmp_path: Path, engine: WasmEngine, code: bytes
) -> None:
    cache = CompiledCache(tmp_path, engine)
    cache.save(SHA256, code)
    (directory,) = tmp_path.iterdir()
    directory.chmod(0o770)
    with capture_logs() as logs:
        assert cache.load(SHA256) is None
    assert logs[0]["event"] == "compiled_cache_refused"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_owner_is_not_loaded(
    tmp_path: Path, engine: WasmEngine, code: bytes
) -> None:
    cache = CompiledCache(tmp_path, engine)
    cache.save(SHA256, code)
    (file,) = tmp_path.rglob("*.cwasm")
    os.chown(file, 65_534, 65_534)
    assert cache.load(SHA256) is None


def test_a_symbolic_link_is_not_followed(tmp_path: Path, engine: WasmEngine, code: bytes) -> None:
    cache = CompiledCache(tmp_path, engine)
    cache.save(SHA256, code)
    (file,) = tmp_path.rglob("*.cwasm")
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert cache.load(SHA256) is None


def test_a_file_that_is_no_compiled_component_is_compiled_anew(
    tmp_path: Path, engine: WasmEngine, code: bytes
) -> None:
    cache = CompiledCache(tmp_path, engine)
    cache.save(SHA256, code)
    (file,) = tmp_path.rglob("*.cwasm")
    file.write_bytes(b"not native code")
    assert cache.load(SHA256) is None


def test_files_are_for_their_owner_alone_and_no_temporary_one_is_left(
    tmp_path: Path, engine: WasmEngine, code: bytes
) -> None:
    CompiledCache(tmp_path / "compiled", engine).save(SHA256, code)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.suffix for path in files] == [".cwasm"]
    assert {path.stat().st_mode & 0o077 for path in (*files, files[0].parent)} == {0}


def test_the_least_recently_used_files_are_removed(
    tmp_path: Path, engine: WasmEngine, code: bytes
) -> None:
    cache = CompiledCache(tmp_path, engine, max_files=2)
    for digit in "abc":
        cache.save(digit * 64, code)
        for age, file in enumerate(sorted(tmp_path.rglob("*.cwasm"))):
            os.utime(file, (1_000 + age, 1_000 + age))
    assert sorted(file.stem[0] for file in tmp_path.rglob("*.cwasm")) == ["b", "c"]


def test_what_a_killed_process_has_begun_to_write_does_not_stay(
    tmp_path: Path, engine: WasmEngine, code: bytes
) -> None:
    cache = CompiledCache(tmp_path, engine, max_files=1)
    cache.save("a" * 64, code)
    (saved,) = tmp_path.rglob("*.cwasm")
    begun = saved.with_name(f".{saved.name}.tmp")
    begun.write_bytes(code)
    os.utime(begun, (1_000, 1_000))
    cache.save("b" * 64, code)
    assert [file.name for file in saved.parent.iterdir()] == ["b" * 64 + ".cwasm"]


def test_a_file_that_another_process_removes_meanwhile_is_no_failure_to_write(
    tmp_path: Path, engine: WasmEngine, code: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    glob = Path.glob

    def with_one_that_is_gone(folder: Path, pattern: str) -> Iterator[Path]:
        yield folder / "gone.cwasm"
        yield from glob(folder, pattern)

    monkeypatch.setattr(Path, "glob", with_one_that_is_gone)
    cache = CompiledCache(tmp_path, engine, max_files=1)
    with capture_logs() as lines:
        for digit in "ab":
            cache.save(digit * 64, code)
    assert lines == []
    monkeypatch.undo()
    assert len(list(tmp_path.rglob("*.cwasm"))) == 1


def guests_of(tmp_path: Path, engine: WasmEngine, *, max_guests: int = 4) -> Guests:
    compiled = CompiledCache(tmp_path / "compiled", engine)
    return Guests(
        engine, BundleStore(tmp_path), compiled, {}, compile_memory_mb=768, max_guests=max_guests
    )


async def test_calls_that_come_together_share_one_compilation(
    tmp_path: Path, engine: WasmEngine
) -> None:
    content_hash = wat.install(tmp_path, wat.ECHO)
    guests = guests_of(tmp_path, engine)
    first, *others = await asyncio.gather(*[guests.get(content_hash) for _ in range(8)])
    assert all(other is first for other in others)
    await guests.aclose()


async def test_one_caller_going_away_does_not_end_the_compilation_for_others(
    tmp_path: Path, engine: WasmEngine
) -> None:
    content_hash = wat.install(tmp_path, wat.ECHO)
    guests = guests_of(tmp_path, engine)
    first = asyncio.create_task(guests.get(content_hash))
    second = asyncio.create_task(guests.get(content_hash))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).prepared.engine is engine
    await guests.aclose()


async def test_the_least_recently_used_guest_is_forgotten(
    tmp_path: Path, engine: WasmEngine
) -> None:
    hashes = [wat.install(tmp_path, wat.guest(wat.answering(status))) for status in (201, 202, 203)]
    guests = guests_of(tmp_path, engine, max_guests=2)
    first = await guests.get(hashes[0])
    for content_hash in hashes[1:]:
        await guests.get(content_hash)
    assert len(guests) == 2
    assert await guests.get(hashes[0]) is not first
    await guests.aclose()


async def test_a_refused_component_that_is_asked_for_is_not_forgotten(
    tmp_path: Path, engine: WasmEngine
) -> None:
    refused = wat.install(tmp_path, wat.NO_HANDLER)
    others = [wat.install(tmp_path, wat.guest(wat.answering(status))) for status in (201, 202)]
    guests = guests_of(tmp_path, engine, max_guests=2)
    for content_hash in (refused, others[0], refused, others[1]):
        with suppress(GuestFailed):
            await guests.get(content_hash)
    with pytest.raises(GuestFailed):
        guests.known(refused)
    await guests.aclose()


async def test_a_component_runs_where_its_code_cannot_be_kept(
    tmp_path: Path, engine: WasmEngine
) -> None:
    content_hash = wat.install(tmp_path, wat.ECHO)
    directory = tmp_path / "compiled" / engine.fingerprint
    directory.mkdir(parents=True)
    directory.chmod(0o777)
    guests = guests_of(tmp_path, engine)
    assert (await guests.get(content_hash)).prepared.engine is engine
    assert list(directory.iterdir()) == []
    await guests.aclose()


async def test_a_missing_bundle_is_found_as_soon_as_it_is_there(
    tmp_path: Path, engine: WasmEngine
) -> None:
    content_hash = wat.install(tmp_path / "elsewhere", wat.ECHO)
    guests = guests_of(tmp_path, engine)
    with pytest.raises(GuestFailed) as caught:
        await guests.get(content_hash)
    assert (caught.value.error, caught.value.status) == ("bundle_fetch_failed", 502)
    BundleStore(tmp_path).add(tmp_path / "elsewhere" / "bundle.tar.zst")
    assert (await guests.get(content_hash)).declared == ()
    await guests.aclose()


@pytest.mark.parametrize(
    ("component", "error"),
    [
        (wat.NO_HANDLER, "execute_no_handler"),
        (wat.importing("wasi:http/types@0.2.0"), "execute_link_failed"),
        (b"\0asm no component", "execute_failed"),
    ],
)
async def test_a_refused_component_is_refused_again_without_compiling_it(
    tmp_path: Path, engine: WasmEngine, component: str | bytes, error: str
) -> None:
    content_hash = wat.install(tmp_path, component)
    guests = guests_of(tmp_path, engine)
    for _ in range(2):
        with pytest.raises(GuestFailed) as caught:
            await guests.get(content_hash)
        assert caught.value.error == error
    assert len(guests) == 1
    await guests.aclose()


async def test_a_fault_of_this_program_is_told_as_one_and_tried_again(
    tmp_path: Path, engine: WasmEngine
) -> None:
    # No component can provoke this, so a table of host functions that breaks stands in.
    class Broken(dict[str, dict[str, HostFunction]]):
        def get(self, *_: object) -> dict[str, HostFunction]:
            raise RuntimeError("secret")

    content_hash = wat.install(tmp_path, wat.calling_log_info())
    compiled = CompiledCache(tmp_path / "compiled", engine)
    guests = Guests(engine, BundleStore(tmp_path), compiled, Broken(), compile_memory_mb=768)
    with pytest.raises(GuestFailed) as caught:
        await guests.get(content_hash)
    assert (caught.value.error, caught.value.detail) == ("engine_init_failed", "RuntimeError")
    await guests.aclose()


@pytest.mark.parametrize(("rest_s", "tries"), [(3600.0, 1), (0.001, 2)])
async def test_a_compiler_without_memory_is_given_a_rest_and_started_again(
    rest_s: float, tries: int, tmp_path: Path, engine: WasmEngine, code: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    begun = []

    async def compiled(component: Path, **_: int) -> bytes:
        begun.append(component)
        if len(begun) == 1:
            raise GuestFailed("engine_init_failed", "no memory")
        return code

    monkeypatch.setattr("backends.embedded.guests.compiled", compiled)
    monkeypatch.setitem(TRANSIENT, "engine_init_failed", rest_s)
    guests = guests_of(tmp_path, engine)
    content_hash = wat.install(tmp_path, wat.ECHO)
    for _ in range(2):
        with suppress(GuestFailed):
            await guests.get(content_hash)
        await asyncio.sleep(0.1)
    assert len(begun) == tries
    await guests.aclose()


async def test_two_are_compiled_at_once_and_closing_waits_for_neither(
    tmp_path: Path, engine: WasmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: asyncio.Queue[Path] = asyncio.Queue()

    async def never_done(component: Path, **_: int) -> bytes:
        begun.put_nowait(component)
        await asyncio.Event().wait()
        return b""

    monkeypatch.setattr("backends.embedded.guests.compiled", never_done)
    hashes = [wat.install(tmp_path, wat.guest(wat.answering(status))) for status in (201, 202, 203)]
    guests = guests_of(tmp_path, engine)
    coming = [asyncio.create_task(guests.get(content_hash)) for content_hash in hashes]
    assert await begun.get() != await begun.get()
    await guests.aclose()
    for outcome in await asyncio.gather(*coming, return_exceptions=True):
        assert isinstance(outcome, RunnerUnreachable)
    assert begun.empty()


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What was compiled, by its path."""
    seen: list[Path] = []

    async def counted(component: Path, *, max_memory_mb: int) -> bytes:
        seen.append(component)
        return await compiled(component, max_memory_mb=max_memory_mb)

    monkeypatch.setattr("backends.embedded.guests.compiled", counted)
    return seen


async def test_bundles_that_differ_in_their_page_share_one_compilation(
    tmp_path: Path, engine: WasmEngine, compilations: list[Path]
) -> None:
    first = wat.install(tmp_path, wat.ECHO)
    second = wat.install(tmp_path, wat.ECHO, ["cap:storage.kv"])
    assert first != second
    guests = guests_of(tmp_path, engine)
    await guests.get(first)
    assert (await guests.get(second)).declared == ("cap:storage.kv",)
    assert len(compilations) == 1
    await guests.aclose()


async def test_of_several_workers_one_compiles_and_the_others_wait(
    tmp_path: Path, engine: WasmEngine, compilations: list[Path]
) -> None:
    content_hash = wat.install(tmp_path, wat.ECHO)
    workers = [guests_of(tmp_path, engine) for _ in range(3)]
    await asyncio.gather(*[guests.get(content_hash) for guests in workers])
    assert len(compilations) == 1
    (directory,) = (tmp_path / "compiled").iterdir()
    assert [path.suffix for path in directory.iterdir()] == [".cwasm"]
    for guests in workers:
        await guests.aclose()


async def test_nothing_is_compiled_once_closed(tmp_path: Path, engine: WasmEngine) -> None:
    guests = guests_of(tmp_path, engine)
    await guests.aclose()
    with pytest.raises(RunnerUnreachable):
        await guests.get(f"sha256:{SHA256}")
