"""The folder of bundles: what is added is shared, what is damaged is mended or refused."""

import os
import tarfile
from pathlib import Path

import orjson
import pytest
import zstandard

from backends.bundles.errors import BundleCorrupt, BundleError, BundleNotFound, BundleRejected
from backends.bundles.store import BundleStore
from tests.backends.archives import (
    FILES,
    MANIFEST,
    entries,
    entry,
    hash_of,
    tar_bytes,
    write_archive,
)
from tests.backends.bundles.folders import files_below, leftovers

ABSENT = "sha256:" + "0" * 64


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


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("manifest.json", "no_manifest"),
        ("dist/main.wasm", "no_component"),
        ("ui/index.html", "no_page"),
    ],
)
def test_a_bundle_without_a_required_file_is_refused_whole(
    store: BundleStore, root: Path, tmp_path: Path, missing: str, reason: str
) -> None:
    files = {f"{name}.bak" if name == missing else name: FILES[name] for name in FILES}
    with pytest.raises(BundleRejected) as caught:
        store.add(write_archive(tmp_path / "a", entries(files)))
    assert caught.value.reason == reason
    assert missing in caught.value.detail
    assert (files_below(root / "extracted"), leftovers(root), store.hashes()) == ([], [], ())


def test_a_page_that_lies_where_the_manifest_says_is_not_where_runners_look(
    store: BundleStore, tmp_path: Path
) -> None:
    manifest = {**MANIFEST, "ui": {"type": "iframe", "entry": "ui/dist/index.html"}}
    files = {**FILES, "manifest.json": orjson.dumps(manifest)}
    files["ui/dist/index.html"] = files.pop("ui/index.html")
    with pytest.raises(BundleRejected) as caught:
        store.add(write_archive(tmp_path / "a", entries(files)))
    assert caught.value.reason == "no_page"


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
