"""The folder of bundles: hostile archives stay out, honest ones are shared."""

import io
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest
import zstandard

from backends.bundle_archive import ArchiveLimits
from backends.bundles import (
    BundleCorrupt,
    BundleError,
    BundleNotFound,
    BundleRejected,
    BundleStore,
    pack,
)
from backends.file_lock import file_lock
from backends.manifest import ManifestError
from tests.backends.archives import (
    FILES,
    MANIFEST,
    Entry,
    bundle_archive,
    entries,
    entry,
    hash_of,
    tar_bytes,
    write_archive,
)

ABSENT = "sha256:" + "0" * 64
SMALL = ArchiveLimits(
    max_archive_bytes=200_000,
    max_entries=8,
    max_entry_bytes=100_000,
    max_total_bytes=300_000,
    max_ratio=10,
    ratio_counts_from_bytes=150_000,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> BundleStore:
    return BundleStore(root)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_archive(tmp_path / "honest.tar.zst", entries())


def files_below(folder: Path) -> list[str]:
    return sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())


def leftovers(root: Path) -> list[str]:
    return [name for name in files_below(root / "tmp") if not name.endswith(".lock")]


# Honest archives


def test_an_added_bundle_is_laid_out_by_its_hash(
    store: BundleStore, root: Path, archive: Path
) -> None:
    bundle = store.add(archive)

    assert bundle.content_hash == hash_of(archive)
    assert bundle.wasm_path.read_bytes() == FILES["dist/main.wasm"]
    assert (bundle.ui_root / "index.html").read_bytes() == FILES["ui/index.html"]
    assert bundle.manifest.slug == "example.org.example.hello"
    digest = bundle.content_hash.removeprefix("sha256:")
    assert files_below(root / "archives") == [f"{digest}.tar.zst"]
    assert files_below(root / "extracted") == [
        f"{digest}/.ready",
        f"{digest}/bundle/dist/main.wasm",
        f"{digest}/bundle/manifest.json",
        f"{digest}/ui/app.js",
        f"{digest}/ui/index.html",
    ]
    assert leftovers(root) == []
    assert store.hashes() == (bundle.content_hash,)


def test_extracted_files_cannot_be_written_to(store: BundleStore, archive: Path) -> None:
    bundle = store.add(archive)
    assert bundle.wasm_path.stat().st_mode & 0o777 == 0o444


def test_opening_twice_gives_the_same_bundle_without_looking_again(
    store: BundleStore, archive: Path
) -> None:
    first = store.add(archive)
    archive_in_store = next((first.root.parent.parent / "archives").iterdir())
    archive_in_store.unlink()
    assert store.open(first.content_hash.upper().replace("SHA256", "sha256")) is first


def test_a_bundle_that_another_process_adds_is_found_at_once(
    store: BundleStore, root: Path, archive: Path
) -> None:
    content_hash = hash_of(archive)
    with pytest.raises(BundleNotFound):
        store.open(content_hash)
    BundleStore(root).add(archive)
    assert store.open(content_hash).content_hash == content_hash


def test_a_removed_bundle_is_gone_for_whoever_opens_it_next(
    store: BundleStore, root: Path, archive: Path
) -> None:
    content_hash = store.add(archive).content_hash
    store.remove(content_hash)

    with pytest.raises(BundleNotFound):
        store.open(content_hash)
    with pytest.raises(BundleNotFound):
        store.remove(content_hash)
    assert files_below(root) == []


def test_a_removed_bundle_can_come_back(store: BundleStore, archive: Path) -> None:
    content_hash = store.add(archive).content_hash
    store.remove(content_hash)
    assert store.add(archive).wasm_path.exists()


@pytest.mark.parametrize("text", ["", "sha256:ab", "../../etc", "sha256:" + "g" * 64])
def test_what_is_no_content_hash_is_not_found(store: BundleStore, text: str) -> None:
    with pytest.raises(BundleNotFound):
        store.open(text)


def test_an_archive_by_gnu_tar_with_folders_and_dots_is_fine(
    store: BundleStore, tmp_path: Path
) -> None:
    content = [entry("./", kind=tarfile.DIRTYPE), entry("./ui/", kind=tarfile.DIRTYPE)]
    content += [entry(f"./{name}", data) for name, data in FILES.items()]
    content += [entry("ui/a..b.js", b"two dots inside a name mean nothing")]
    bundle = store.add(write_archive(tmp_path / "dots.tar.zst", content))
    assert (bundle.ui_root / "a..b.js").exists()


def test_several_zstd_frames_are_one_archive(store: BundleStore, tmp_path: Path) -> None:
    raw = tar_bytes(entries())
    path = tmp_path / "frames.tar.zst"
    path.write_bytes(zstandard.compress(raw[:700]) + zstandard.compress(raw[700:]))
    assert store.add(path).wasm_path.read_bytes() == FILES["dist/main.wasm"]


def test_a_long_name_is_kept_whole(store: BundleStore, tmp_path: Path) -> None:
    name = "ui/" + "/".join(["folder" * 5] * 8) + "/page.html"
    bundle = store.add(write_archive(tmp_path / "a.tar.zst", [*entries(), entry(name, b"x")]))
    assert (bundle.ui_root.parent / name).read_bytes() == b"x"


# What a crash or a meddler left


def test_extracted_files_cut_short_by_a_crash_are_extracted_again(
    store: BundleStore, root: Path, archive: Path
) -> None:
    bundle = store.add(archive)
    bundle.wasm_path.chmod(0o644)
    bundle.wasm_path.write_bytes(b"")

    again = BundleStore(root).open(bundle.content_hash)

    assert again.wasm_path.read_bytes() == FILES["dist/main.wasm"]


@pytest.mark.parametrize("marker", [b"", b"ok", b"[]", b'{"layout": 0, "files": {}}'])
def test_a_marker_of_another_kind_means_extracting_again(
    store: BundleStore, root: Path, archive: Path, marker: bytes
) -> None:
    bundle = store.add(archive)
    (bundle.root / ".ready").write_bytes(marker)
    (bundle.ui_root / "app.js").unlink()
    assert (BundleStore(root).open(bundle.content_hash).ui_root / "app.js").exists()


def test_an_archive_that_changed_on_disk_is_corrupt_until_it_is_added_again(
    store: BundleStore, root: Path, archive: Path
) -> None:
    content_hash = store.add(archive).content_hash
    stored = next((root / "archives").iterdir())
    stored.chmod(0o644)
    stored.write_bytes(stored.read_bytes() + b"\0")

    other = BundleStore(root)
    for _ in range(2):
        with pytest.raises(BundleCorrupt) as caught:
            other.open(content_hash)
        assert caught.value.reason == "archive_hash_mismatch"

    store.add(archive)
    assert other.open(content_hash).content_hash == content_hash


def test_an_archive_put_into_the_folder_by_hand_is_verified_and_extracted(
    root: Path, archive: Path
) -> None:
    content_hash = hash_of(archive)
    folder = root / "archives"
    folder.mkdir(parents=True)
    archive.rename(folder / f"{content_hash.removeprefix('sha256:')}.tar.zst")
    assert BundleStore(root).open(content_hash).wasm_path.exists()


def test_what_a_killed_extraction_left_behind_is_swept(
    store: BundleStore, root: Path, archive: Path
) -> None:
    digest = hash_of(archive).removeprefix("sha256:")
    stale = root / "tmp" / f"{digest}.dir.dead"
    stale.mkdir(parents=True)
    (stale / "half").write_bytes(b"half")
    abandoned = root / "tmp" / "incoming.dead"
    abandoned.write_bytes(b"half")
    os.utime(abandoned, (0, 0))
    store.add(archive)
    assert leftovers(root) == []


def test_a_folder_that_cannot_be_written_says_so_in_one_word(tmp_path: Path, archive: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BundleError) as caught:
        BundleStore(tmp_path / "file").add(archive)
    assert caught.value.reason == "storage_failed"


def test_an_archive_that_is_not_there_is_the_callers_fault(
    store: BundleStore, tmp_path: Path
) -> None:
    with pytest.raises(BundleError) as caught:
        store.add(tmp_path / "nowhere")
    assert caught.value.reason == "archive_unreadable"


# Hostile archives


HOSTILE: dict[str, tuple[list[Entry], str]] = {
    "traversal": ([entry("../escaped", b"x")], "dot_segment"),
    "traversal inside": ([entry("ui/../../escaped", b"x")], "dot_segment"),
    "traversal by a folder": ([entry("ui/../../dir", kind=tarfile.DIRTYPE)], "dot_segment"),
    "absolute": ([entry("/tmp/escaped", b"x")], "absolute_name"),
    "absolute after dots": ([entry(".//tmp/escaped", b"x")], "absolute_name"),
    "backslash": ([entry("ui\\..\\escaped", b"x")], "unprintable_name"),
    "control character": ([entry("ui/a\nb.js", b"x")], "unprintable_name"),
    "hidden file": ([entry("ui/.htaccess", b"x")], "hidden_segment"),
    "forged marker": ([entry(".ready", b"x")], "hidden_segment"),
    "empty segment": ([entry("ui//a.js", b"x")], "empty_segment"),
    "name too long": ([entry("ui/" + "a" * 300, b"x")], "name_too_long"),
    "symlink": ([entry("ui/link", kind=tarfile.SYMTYPE, link="/etc/passwd")], "not_a_file"),
    "hard link": ([entry("ui/link", kind=tarfile.LNKTYPE, link="manifest.json")], "not_a_file"),
    "device": ([entry("ui/null", kind=tarfile.CHRTYPE)], "not_a_file"),
    "pipe": ([entry("ui/pipe", kind=tarfile.FIFOTYPE)], "not_a_file"),
    "duplicate": ([entry("ui/app.js", b"other")], "duplicate_name"),
    "file as a folder": ([entry("ui/app.js/inner", b"x")], "duplicate_name"),
    "folder as a file": ([entry("dist", b"x")], "duplicate_name"),
}


@pytest.mark.parametrize(("added", "reason"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_entry_refuses_the_whole_archive(
    store: BundleStore, root: Path, tmp_path: Path, added: list[Entry], reason: str
) -> None:
    hostile = write_archive(tmp_path / "hostile.tar.zst", [*entries(), *added])
    before = files_below(tmp_path)

    with pytest.raises(BundleRejected) as caught:
        store.add(hostile)

    assert caught.value.reason == reason
    assert leftovers(root) == []
    assert store.hashes() == ()
    assert [name for name in files_below(tmp_path) if not name.startswith("store/")] == before
    assert not Path("/tmp/escaped").exists()


@pytest.mark.parametrize("missing", ["manifest.json", "dist/main.wasm"])
def test_a_bundle_without_a_required_file_is_refused(
    store: BundleStore, tmp_path: Path, missing: str
) -> None:
    rest = {name: content for name, content in FILES.items() if name != missing}
    with pytest.raises(BundleRejected) as caught:
        store.add(write_archive(tmp_path / "a.tar.zst", entries(rest)))
    assert missing in caught.value.detail


def test_a_bundle_with_a_bad_manifest_tells_its_author_why(
    store: BundleStore, tmp_path: Path
) -> None:
    with pytest.raises(BundleRejected) as caught:
        store.add(bundle_archive(tmp_path, version="one", runtime=None))
    assert caught.value.reason == "bad_manifest"
    assert "version: " in caught.value.detail
    assert "runtime: " in caught.value.detail


def test_an_entry_name_is_escaped_before_anybody_prints_it(
    store: BundleStore, tmp_path: Path
) -> None:
    with pytest.raises(BundleRejected) as caught:
        store.add(write_archive(tmp_path / "a.tar.zst", [entry("ui/\x1b[31m" + "x" * 500)]))
    assert caught.value.detail.isprintable()
    assert len(caught.value.detail) < 200


BOMBS: dict[str, tuple[list[Entry], str]] = {
    "many entries": ([entry(f"ui/{n}.js") for n in range(9)], "too_many_entries"),
    "large entry": ([entry("ui/a.js", os.urandom(100_001))], "entry_too_large"),
    "large total": (
        [entry(f"ui/{n}.js", b"%d" % n * 90_000) for n in range(4)],
        "compression_ratio",
    ),
}


@pytest.mark.parametrize(("added", "reason"), BOMBS.values(), ids=BOMBS.keys())
def test_an_archive_that_unpacks_to_too_much_is_refused(
    root: Path, tmp_path: Path, added: list[Entry], reason: str
) -> None:
    bomb = write_archive(tmp_path / "bomb.tar.zst", [*entries(), *added])
    with pytest.raises(BundleRejected) as caught:
        BundleStore(root, limits=SMALL).add(bomb)
    assert caught.value.reason == reason
    assert leftovers(root) == []


def test_the_total_is_bounded_even_when_it_does_not_compress(root: Path, tmp_path: Path) -> None:
    noise = [entry(f"ui/{n}.js", os.urandom(45_000)) for n in range(4)]
    with pytest.raises(BundleRejected) as caught:
        BundleStore(root, limits=ArchiveLimits(max_total_bytes=150_000)).add(
            write_archive(tmp_path / "noise.tar.zst", [*entries(), *noise])
        )
    assert caught.value.reason == "unpacks_too_large"


def test_an_archive_that_is_itself_too_large_is_refused_unread(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(os.urandom(200_001))
    with pytest.raises(BundleRejected) as caught:
        BundleStore(root, limits=SMALL).add(path)
    assert caught.value.reason == "archive_too_large"


def test_a_header_that_claims_gigabytes_does_not_get_them(
    store: BundleStore, tmp_path: Path
) -> None:
    header = tarfile.TarInfo("././@PaxHeader")
    header.type = tarfile.XHDTYPE
    header.size = 4 * 1024**3
    path = tmp_path / "pax.tar.zst"
    claimed = header.tobuf(tarfile.USTAR_FORMAT) + b"\0" * (64 * 1024 * 1024)
    path.write_bytes(zstandard.compress(claimed))
    with pytest.raises(BundleRejected) as caught:
        store.add(path)
    assert caught.value.reason == "header_too_large"


def test_headers_nested_a_thousand_deep_are_refused(store: BundleStore, tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type = tarfile.GNUTYPE_LONGNAME
    header.size = 0
    path = tmp_path / "deep.tar.zst"
    path.write_bytes(zstandard.compress(header.tobuf(tarfile.GNU_FORMAT) * 1900))
    with pytest.raises(BundleRejected):
        store.add(path)


def cut_zstd(raw: bytes) -> bytes:
    whole = zstandard.compress(raw)
    return whole[: len(whole) // 2]


def damaged_header(raw: bytes) -> bytes:
    second = raw.index(b"dist/main.wasm")
    return zstandard.compress(raw[:second] + b"X" + raw[second + 1 :])


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda raw: b"",
    "not zstd": lambda raw: raw,
    "truncated zstd": cut_zstd,
    "zstd of nothing": lambda raw: zstandard.compress(b""),
    "zstd of no tar": lambda raw: zstandard.compress(b"text" * 1000),
    "truncated tar": lambda raw: zstandard.compress(raw[: raw.index(b"ui/app.js") + 600]),
    "tar without an end": lambda raw: zstandard.compress(raw.rstrip(b"\0") + b"\0" * 0),
    "damaged header": damaged_header,
    "junk behind": lambda raw: zstandard.compress(raw) + b"junk",
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_archive_is_refused_not_half_extracted(
    store: BundleStore, root: Path, tmp_path: Path, broken: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "broken.tar.zst"
    path.write_bytes(broken(tar_bytes(entries())))
    with pytest.raises(BundleRejected) as caught:
        store.add(path)
    assert caught.value.reason == "not_an_archive"
    assert files_below(root / "extracted") == []


# Sharing


def test_many_threads_that_open_at_once_get_one_bundle(root: Path, archive: Path) -> None:
    content_hash = BundleStore(root).add(archive).content_hash
    store = BundleStore(root)
    (next((root / "extracted").iterdir()) / ".ready").unlink()
    barrier = threading.Barrier(8)

    def open_with_the_others() -> int:
        barrier.wait()
        return id(store.open(content_hash))

    with ThreadPoolExecutor(8) as pool:
        opened = {one.result() for one in [pool.submit(open_with_the_others) for _ in range(8)]}

    assert len(opened) == 1


OPEN_AND_READ = """
import sys
from pathlib import Path
from backends.bundles import BundleStore
print("ready", flush=True)
sys.stdin.readline()
bundle = BundleStore(Path(sys.argv[1])).open(sys.argv[2])
print(bundle.wasm_path.read_bytes().hex(), (bundle.ui_root / "app.js").stat().st_ino, flush=True)
"""


def test_processes_that_open_at_once_extract_once(root: Path, tmp_path: Path) -> None:
    many = [entry(f"ui/{n}.js", b"x") for n in range(1500)]  # so that they do meet
    archive = write_archive(tmp_path / "many.tar.zst", [*entries(), *many])
    content_hash = BundleStore(root).add(archive).content_hash
    (next((root / "extracted").iterdir()) / ".ready").unlink()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN_AND_READ, str(root), content_hash],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = {process.communicate(timeout=60)[0] for process in processes}

    assert len(answers) == 1  # the same inode: extracted by one of them
    assert answers.pop().startswith(FILES["dist/main.wasm"].hex())


HOLD_LOCK = """
import sys
from pathlib import Path
from backends.file_lock import file_lock
with file_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_lock_of_another_process_is_waited_for_only_so_long(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(TimeoutError), file_lock(path, deadline_s=0.05):
            pass
        holder.communicate("done\n", timeout=60)
    with file_lock(path, deadline_s=0):
        assert path.exists()


def test_whoever_waited_for_a_deleted_lock_takes_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    waits, has_it, may_leave = threading.Event(), threading.Event(), threading.Event()

    def pause(_: float) -> None:
        waits.set()

    def wait_for_it() -> None:
        with file_lock(path):
            has_it.set()
            may_leave.wait(30)

    monkeypatch.setattr("backends.file_lock.time.sleep", pause)  # tells that it waits
    with ThreadPoolExecutor(1) as pool:
        with file_lock(path):
            waiter = pool.submit(wait_for_it)
            assert waits.wait(30)
            path.unlink()
        assert has_it.wait(30)
        with pytest.raises(TimeoutError), file_lock(path, deadline_s=0):
            pass
        may_leave.set()
        waiter.result(30)


# Packing


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_what_was_packed_can_be_added(store: BundleStore, project: Path, tmp_path: Path) -> None:
    content_hash = pack(project, tmp_path / "out" / "bundle.tar.zst")
    bundle = store.add(tmp_path / "out" / "bundle.tar.zst")
    assert bundle.content_hash == content_hash
    assert files_below(bundle.ui_root) == ["app.js", "index.html"]


def test_packing_the_same_content_again_gives_the_same_hash(project: Path, tmp_path: Path) -> None:
    first = pack(project, tmp_path / "first.tar.zst")
    for path in project.rglob("*"):
        os.utime(path, (1, 1))
    (project / "ui" / "app.js").chmod(0o600)
    assert pack(project, tmp_path / "second.tar.zst") == first


def test_entries_are_sorted_whatever_order_the_folder_lists(project: Path, tmp_path: Path) -> None:
    for name in ("z", "b", "m", "a"):
        (project / "ui" / f"{name}.js").write_bytes(b"x")
    pack(project, tmp_path / "a.tar.zst")
    raw = (
        zstandard.ZstdDecompressor()
        .decompressobj()
        .decompress((tmp_path / "a.tar.zst").read_bytes())
    )
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        names = tar.getnames()
    assert names == sorted(names)


def test_a_built_ui_wins_over_its_sources(
    store: BundleStore, project: Path, tmp_path: Path
) -> None:
    (project / "dist" / "ui").mkdir()
    (project / "dist" / "ui" / "index.html").write_bytes(b"built")
    pack(project, tmp_path / "a.tar.zst")
    bundle = store.add(tmp_path / "a.tar.zst")
    assert files_below(bundle.ui_root) == ["index.html"]


def test_hidden_files_and_what_no_bundle_needs_are_left_out(
    store: BundleStore, project: Path, tmp_path: Path
) -> None:
    (project / ".env").write_bytes(b"SECRET=1")
    (project / "ui" / ".DS_Store").write_bytes(b"x")
    (project / "ui" / ".git").mkdir()
    (project / "ui" / ".git" / "config").write_bytes(b"x")
    (project / "node_modules").mkdir()
    (project / "node_modules" / "a.js").write_bytes(b"x")
    before = pack(project, tmp_path / "a.tar.zst")
    bundle = store.add(tmp_path / "a.tar.zst")
    assert files_below(bundle.root / "bundle") == ["dist/main.wasm", "manifest.json"]
    assert files_below(bundle.ui_root) == ["app.js", "index.html"]
    assert bundle.content_hash == before


def test_a_link_is_refused_and_not_followed(project: Path, tmp_path: Path) -> None:
    (project / "ui" / "passwords.txt").symlink_to("/etc/passwd")
    with pytest.raises(BundleRejected) as caught:
        pack(project, tmp_path / "a.tar.zst")
    assert caught.value.reason == "link"
    assert not (tmp_path / "a.tar.zst").exists()


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("manifest.json", "no_manifest"),
        ("dist/main.wasm", "no_component"),
        ("ui/index.html", "no_page"),
    ],
)
def test_packing_without_a_required_file_says_which(
    project: Path, tmp_path: Path, missing: str, reason: str
) -> None:
    (project / missing).unlink()
    with pytest.raises(BundleRejected) as caught:
        pack(project, tmp_path / "a.tar.zst")
    assert caught.value.reason == reason
    assert missing in caught.value.detail


def test_packing_lints_first_and_leaves_the_last_good_archive_alone(
    project: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a.tar.zst"
    content_hash = pack(project, out)
    (project / "manifest.json").write_bytes(orjson.dumps({**MANIFEST, "version": "one"}))
    with pytest.raises(ManifestError):
        pack(project, out)
    assert hash_of(out) == content_hash
