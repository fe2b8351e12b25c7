"""Makes a bundle out of an extension's folder: the same folder gives the same bytes."""

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import zstandard

from backends.bundles.archive import entry_name, shown
from backends.bundles.errors import BundleRejected
from backends.bundles.extracted import require_page
from backends.bundles.manifest import Manifest, parse_manifest
from backends.files.whole import replacing

SMALLEST: Final = 19
"""For what is packed once and fetched often: CPython as a component takes 10 s."""

QUICK: Final = 3
"""For what lasts until the next save: 0.1 s, and a quarter more bytes."""


def pack(directory: Path, out: Path, *, level: int = SMALLEST) -> str:
    """Write the bundle of an extension's folder to `out`, replacing it in one step.

    Taken are manifest.json, dist/main.wasm, and the files of dist/ui when there is such a
    folder, else of ui, as ui/...; hidden files are left out, as no bundle may hold them.
    Entries are sorted and carry neither times nor owners, so the hash tells only of content
    (and of the level and the zstd library's version). Blocking.

    Args:
        level: of the compression, SMALLEST or QUICK.

    Returns:
        The content hash: "sha256:" and 64 hex digits.

    Raises:
        ManifestError: with every problem of manifest.json.
        BundleRejected: a file is missing, is a link, or has a name that no bundle may hold.
        OSError: the disk would not.
    """
    files = dict(sorted(_files(directory)))
    out.parent.mkdir(parents=True, exist_ok=True)
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
    with (
        replacing(out, mode=0o644) as made,
        compressor.stream_writer(made, closefd=False) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, content in files.items():
            _append(tar, name, content)
    with out.open("rb") as archive:
        return f"sha256:{hashlib.file_digest(archive, 'sha256').hexdigest()}"


def _files(directory: Path) -> Iterator[tuple[str, Path]]:
    manifest_path = _required(directory, "manifest.json", "no_manifest")
    manifest = parse_manifest(manifest_path.read_bytes())
    yield "manifest.json", manifest_path
    yield "dist/main.wasm", _required(directory, "dist/main.wasm", "no_component")
    yield from _ui_files(directory, manifest)


def _required(directory: Path, name: str, reason: str) -> Path:
    path = directory / name
    if path.is_symlink() or not path.is_file():
        raise BundleRejected(reason, f"{name} must be a plain file")
    return path


def _ui_files(directory: Path, manifest: Manifest) -> Iterator[tuple[str, Path]]:
    built = directory / "dist" / "ui"
    root = built if built.is_dir() else directory / "ui"
    require_page(manifest, root)
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = (name for name in subfolders if not name.startswith("."))
        for name in (*subfolders, *names):
            path = Path(folder, name)
            if path.is_symlink():
                raise BundleRejected("link", shown(str(path.relative_to(directory))))
        for name in names:
            if not name.startswith("."):
                path = Path(folder, name)
                if not path.is_file():  # reading from a pipe would never end
                    raise BundleRejected("not_a_file", shown(str(path.relative_to(directory))))
                yield entry_name(f"ui/{path.relative_to(root).as_posix()}"), path


def _append(tar: tarfile.TarFile, name: str, path: Path) -> None:
    content = path.read_bytes()
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = 0o644
    tar.addfile(entry, io.BytesIO(content))
