"""Installs of a bundle folder: found, replaced, removed, never mixed between tenants."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from wasmtime import wat2wasm

from backends.bundles.errors import BundleNotFound, BundleRejected
from backends.bundles.store import BundleStore
from gateway.installs.changes import install_bundle, list_installs, remove_install
from gateway.installs.contract import ExtensionNotInstalled, RegistryUnavailable
from gateway.installs.directory import DirectoryInstalls
from gateway.installs.index import IndexUnreadable, write_index
from tests.backends.archives import FILES, MANIFEST, bundle_archive, entries, write_archive
from tests.backends.embedded import wat
from tests.gateway.harness import running

SLUG = "example.org.example.hello"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def installs(root: Path) -> DirectoryInstalls:
    return DirectoryInstalls(root, dev_tenant="dev")


async def test_an_install_is_found_by_every_name_it_has(
    installs: DirectoryInstalls, root: Path, tmp_path: Path
) -> None:
    done = install_bundle(root, bundle_archive(tmp_path), tenant="t1")
    for name in (done.install_id, done.registry_id, SLUG, SLUG.upper(), done.install_id.upper()):
        assert await installs.resolve("t1", name) == done
    assert done.providers == ("cap:log.emit", "cap:http.fetch")
    assert done.ui_label == "Hello"
    assert done.endpoints is not None
    assert done.endpoints[0].path == "/items/:id"


async def test_nothing_is_installed_in_a_folder_that_is_not_there(
    installs: DirectoryInstalls,
) -> None:
    with pytest.raises(ExtensionNotInstalled):
        await installs.resolve("t1", SLUG)
    assert await installs.all(None) == ()


async def test_a_tenant_never_sees_anothers_install(
    installs: DirectoryInstalls, root: Path, tmp_path: Path
) -> None:
    done = install_bundle(root, bundle_archive(tmp_path), tenant="t1")
    for name in (done.install_id, done.registry_id, SLUG):
        with pytest.raises(ExtensionNotInstalled):
            await installs.resolve("t2", name)
    assert await installs.all("t2") == ()
    assert await installs.all("t1") == await installs.all(None) == (done,)


async def test_an_install_for_everybody_has_an_install_id_per_tenant(
    installs: DirectoryInstalls, root: Path, tmp_path: Path
) -> None:
    install_bundle(root, bundle_archive(tmp_path), tenant="*")

    one = await installs.resolve("t1", SLUG)
    other = await installs.resolve("t2", SLUG)

    assert (one.tenant_id, other.tenant_id) == ("t1", "t2")
    assert one.install_id != other.install_id
    assert one.registry_id == other.registry_id
    assert await installs.resolve("t1", one.install_id) == one
    with pytest.raises(ExtensionNotInstalled):
        await installs.resolve("t2", one.install_id)
    assert await installs.all("t1") == (one,)
    assert [install.tenant_id for install in await installs.all(None)] == ["dev"]


async def test_a_caller_cannot_call_itself_everybody(
    installs: DirectoryInstalls, root: Path, tmp_path: Path
) -> None:
    install_bundle(root, bundle_archive(tmp_path), tenant="*")
    with pytest.raises(ExtensionNotInstalled):
        await installs.resolve("*", SLUG)


async def test_a_tenants_own_install_wins_over_everybodys(
    installs: DirectoryInstalls, root: Path, tmp_path: Path
) -> None:
    install_bundle(root, bundle_archive(tmp_path), tenant="*")
    own = install_bundle(root, bundle_archive(tmp_path, version="2.0.0"), tenant="t1")
    assert await installs.resolve("t1", own.registry_id) == own
    assert await installs.all("t1") == (own,)
    assert (await installs.resolve("t2", SLUG)).version == "1.0.0"


async def test_a_new_version_is_there_at_the_next_question_and_keeps_its_ids(
    installs: DirectoryInstalls, root: Path, tmp_path: Path
) -> None:
    first = install_bundle(root, bundle_archive(tmp_path), tenant="t1", config={"a": "1"})
    assert await installs.resolve("t1", SLUG) == first

    second = install_bundle(root, bundle_archive(tmp_path, version="1.0.1"), tenant="t1")

    assert await installs.resolve("t1", SLUG) == second
    assert (second.install_id, second.registry_id) == (first.install_id, first.registry_id)
    assert second.version_id != first.version_id
    assert second.content_hash != first.content_hash
    assert second.config == {"a": "1"}
    assert list_installs(root) == (second,)


async def test_installing_the_same_again_changes_nothing(root: Path, tmp_path: Path) -> None:
    archive = bundle_archive(tmp_path)
    assert install_bundle(root, archive, tenant="t1") == install_bundle(root, archive, tenant="t1")


async def test_grants_say_what_may_be_used(root: Path, tmp_path: Path) -> None:
    done = install_bundle(root, bundle_archive(tmp_path), tenant="t1", grants=["cap:log.emit"])
    assert done.providers == ("cap:log.emit",)


UNKNOWN = ["cap:metrics", "http.fetch", "CAP:HTTP.fetch", "cap:http.fetch"]


@pytest.mark.parametrize("grants", [None, UNKNOWN])
def test_only_what_runners_know_is_granted(
    root: Path, tmp_path: Path, grants: list[str] | None
) -> None:
    archive = bundle_archive(tmp_path, capabilities=UNKNOWN)
    done = install_bundle(root, archive, tenant="t1", grants=grants)
    assert done.providers == ("cap:http.fetch",)


async def test_a_grant_that_no_runner_knows_is_dropped_from_an_older_index(
    installs: DirectoryInstalls, root: Path, tmp_path: Path
) -> None:
    done = install_bundle(root, bundle_archive(tmp_path), tenant="t1")
    write_index(root, [replace(done, providers=("cap:metrics", "cap:log.emit"))])
    assert (await installs.resolve("t1", SLUG)).providers == ("cap:log.emit",)


async def test_an_extension_that_asks_for_the_unknown_is_answered_all_the_same(
    root: Path, tmp_path: Path
) -> None:
    manifest = orjson.dumps({**MANIFEST, "capabilities": UNKNOWN})
    component = bytes(wat2wasm(wat.ECHO))
    files = {**FILES, "manifest.json": manifest, "dist/main.wasm": component}
    install_bundle(root, write_archive(tmp_path / "a", entries(files)), tenant="dev")
    installs = DirectoryInstalls(root, dev_tenant="dev")
    async with (
        running({"RUNNER_BUNDLE_DIR": str(root)}, installs) as gateway,
        gateway.client.get(f"{gateway.url}/api/ext/{SLUG}/items/1") as answer,
    ):
        assert answer.status == 200


async def test_a_removed_install_is_gone_and_so_is_its_bundle(
    installs: DirectoryInstalls, root: Path, tmp_path: Path
) -> None:
    done = install_bundle(root, bundle_archive(tmp_path), tenant="t1")
    assert await installs.resolve("t1", SLUG) == done

    assert remove_install(root, SLUG) == done

    with pytest.raises(ExtensionNotInstalled):
        await installs.resolve("t1", SLUG)
    with pytest.raises(BundleNotFound):
        BundleStore(root).open(done.content_hash)
    with pytest.raises(ExtensionNotInstalled):
        remove_install(root, SLUG)


def test_a_bundle_that_another_tenant_has_stays(root: Path, tmp_path: Path) -> None:
    archive = bundle_archive(tmp_path)
    one = install_bundle(root, archive, tenant="t1")
    install_bundle(root, archive, tenant="t2")

    with pytest.raises(ValueError, match=one.install_id):
        remove_install(root, SLUG)
    assert remove_install(root, one.install_id) == one
    assert BundleStore(root).open(one.content_hash).wasm_path.exists()


@pytest.mark.parametrize("tenant", ["", "a/b", "a\nb", "**", "x" * 129])
def test_what_is_no_tenant_is_refused_before_anything_is_written(
    root: Path, tmp_path: Path, tenant: str
) -> None:
    with pytest.raises(ValueError, match="tenant"):
        install_bundle(root, bundle_archive(tmp_path), tenant=tenant)
    assert not root.exists()


def test_a_bundle_that_is_refused_is_not_installed(root: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleRejected):
        install_bundle(root, bundle_archive(tmp_path, version="one"), tenant="t1")
    assert list_installs(root) == ()


# The index


async def test_a_damaged_index_leaves_the_last_good_one_standing(
    installs: DirectoryInstalls, root: Path, tmp_path: Path
) -> None:
    done = install_bundle(root, bundle_archive(tmp_path), tenant="t1", config={"key": "s3cret"})
    assert await installs.resolve("t1", SLUG) == done
    damaged = (root / "installs.json").read_bytes()[:-20]
    (root / "installs.json").write_bytes(damaged)

    assert await installs.resolve("t1", SLUG) == done
    with pytest.raises(RegistryUnavailable):
        await DirectoryInstalls(root, dev_tenant="dev").resolve("t1", SLUG)
    with pytest.raises(IndexUnreadable) as caught:
        install_bundle(root, bundle_archive(tmp_path), tenant="t1")
    assert "s3cret" not in str(caught.value)
    assert (root / "installs.json").read_bytes() == damaged


async def test_an_index_that_is_mended_is_read_again(
    installs: DirectoryInstalls, root: Path, tmp_path: Path
) -> None:
    done = install_bundle(root, bundle_archive(tmp_path), tenant="t1")
    good = (root / "installs.json").read_bytes()
    (root / "installs.json").write_bytes(b"{}")
    with pytest.raises(RegistryUnavailable):
        await installs.resolve("t1", SLUG)
    (root / "installs.json").write_bytes(good)
    assert await installs.resolve("t1", SLUG) == done


def test_the_index_holds_no_secrets_and_repr_no_configuration(root: Path, tmp_path: Path) -> None:
    done = install_bundle(root, bundle_archive(tmp_path), tenant="t1", config={"key": "s3cret"})
    document = orjson.loads((root / "installs.json").read_bytes())
    assert document["format"] == 1
    assert "secret_envelope" not in document["installs"][0]
    assert "s3cret" not in repr(done)
    assert not [path for path in root.iterdir() if path.name.startswith(".installs.")]


INSTALL = """
import sys
from pathlib import Path
from gateway.installs.changes import install_bundle
print("ready", flush=True)
sys.stdin.readline()
for tenant in sys.argv[3:]:
    install_bundle(Path(sys.argv[1]), Path(sys.argv[2]), tenant=tenant)
"""


def test_processes_that_install_at_once_lose_no_install(root: Path, tmp_path: Path) -> None:
    archive = bundle_archive(tmp_path)
    tenants = [[f"p{process}-{n}" for n in range(5)] for process in range(2)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", INSTALL, str(root), str(archive), *wanted],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        for wanted in tenants
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert {one.tenant_id for one in list_installs(root)} == {*tenants[0], *tenants[1]}


async def test_a_reader_never_sees_half_of_a_change(root: Path, tmp_path: Path) -> None:
    archives = [bundle_archive(tmp_path, version=f"1.0.{n}") for n in range(2)]
    install_bundle(root, archives[0], tenant="t1")
    stop = threading.Event()

    def keep_changing() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            install_bundle(root, archives[turn % 2], tenant="t1")

    installs = DirectoryInstalls(root, dev_tenant="dev")
    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(keep_changing)
        try:
            for _ in range(300):
                assert (await installs.resolve("t1", SLUG)).version in {"1.0.0", "1.0.1"}
        finally:
            stop.set()
        changing.result()
