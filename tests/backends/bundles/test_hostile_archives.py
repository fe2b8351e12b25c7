"""Hostile archives stay out, whole."""

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from backends.bundles.archive import ArchiveLimits
from backends.bundles.errors import BundleRejected
from backends.bundles.store import BundleStore
from tests.backends.archives import (
    FILES,
    Entry,
    bundle_archive,
    entries,
    entry,
    tar_bytes,
    write_archive,
)
from tests.backends.bundles.folders import files_below, leftovers

SMALL = ArchiveLimits(
    max_archive_bytes=200_000,
    max_entries=8,
    max_entry_bytes=100_000,
    max_total_bytes=300_000,
    max_ratio=10,
    ratio_counts_from_bytes=150_000,
)


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


@pytest.mark.parametrize("name", ["._manifest.json", "./._.", "dist/._main.wasm"])
def test_an_archive_of_macos_tar_is_refused_with_the_way_out(
    store: BundleStore, tmp_path: Path, name: str
) -> None:
    archive = write_archive(tmp_path / "mac.tar.zst", [entry(name, b"x"), *entries()])
    with pytest.raises(BundleRejected) as caught:
        store.add(archive)
    assert caught.value.reason == "hidden_segment"
    assert "COPYFILE_DISABLE=1" in caught.value.detail


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
    "many folders": ([entry("ui/" + "a/" * 8 + "b.js")], "too_many_folders"),
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


@pytest.mark.parametrize(
    "fields",
    [
        {"GNU.sparse.map": "0,one"},
        {"GNU.sparse.size": "zz"},
        {"GNU.sparse.realsize": "much"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"},
        {"size": "9" * 5_000},
    ],
)
def test_a_header_with_a_number_that_is_none_is_refused(
    store: BundleStore, tmp_path: Path, fields: dict[str, str]
) -> None:
    odd, content = entry("ui/sparse.js", b"x")
    odd.pax_headers = fields
    with pytest.raises(BundleRejected) as caught:
        store.add(write_archive(tmp_path / "sparse.tar.zst", [*entries(), (odd, content)]))
    assert caught.value.reason == "not_an_archive"


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
