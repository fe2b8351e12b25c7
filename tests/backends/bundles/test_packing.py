"""A folder becomes an archive: the same one for the same content."""

import io
import os
import tarfile
from pathlib import Path

import orjson
import pytest
import zstandard

from backends.bundles.errors import BundleRejected
from backends.bundles.manifest import ManifestError
from backends.bundles.pack import QUICK, SMALLEST, pack
from backends.bundles.store import BundleStore
from tests.backends.archives import (
    FILES,
    MANIFEST,
    hash_of,
)
from tests.backends.bundles.folders import files_below


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


def test_a_level_changes_the_archive_and_nothing_in_it(project: Path, tmp_path: Path) -> None:
    unpacked = []
    for level in (SMALLEST, QUICK):
        archive = tmp_path / f"{level}.tar.zst"
        pack(project, archive, level=level)
        unpacked.append(
            zstandard.ZstdDecompressor().decompressobj().decompress(archive.read_bytes())
        )
    assert unpacked[0] == unpacked[1]


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


def test_what_is_no_plain_file_is_refused_and_not_waited_for(project: Path, tmp_path: Path) -> None:
    os.mkfifo(project / "ui" / "pipe.js")
    with pytest.raises(BundleRejected) as caught:
        pack(project, tmp_path / "a.tar.zst")
    assert (caught.value.reason, caught.value.detail) == ("not_a_file", "'ui/pipe.js'")


def test_a_name_that_is_no_text_is_refused(project: Path, tmp_path: Path) -> None:
    (project / "ui" / os.fsdecode(b"\xe9.js")).touch()
    with pytest.raises(BundleRejected) as caught:
        pack(project, tmp_path / "a.tar.zst")
    assert caught.value.reason == "unprintable_name"
    assert caught.value.detail.isascii()


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
