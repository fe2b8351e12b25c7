"""The extracted half of the folder of bundles: made from archives, whole or not at all."""

import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import orjson

from backends.bundles.archive import ArchiveLimits, extract
from backends.bundles.errors import BundleRejected
from backends.bundles.manifest import Manifest, ManifestError, parse_manifest

_LAYOUT = 1  # another number makes every process extract again


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A verified, extracted bundle. Its files never change."""

    content_hash: str  # "sha256:" and 64 lower-case hex digits
    root: Path
    wasm_path: Path
    ui_root: Path  # exists, perhaps empty
    manifest: Manifest


class ExtractedBundles:
    """`<folder>/<hex>/{ui,bundle}/` and the marker `.ready`, by the hash's hex digits.

    Blocking. Whoever changes something holds the bundle's lock; reading needs none, since a
    bundle appears and disappears by renaming.
    """

    def __init__(self, folder: Path, tmp: Path, limits: ArchiveLimits) -> None:
        self._folder = folder
        self._tmp = tmp
        self._limits = limits

    def is_ready(self, digest: str) -> bool:
        """Whether all files are there at full length; a crash may have cut some short."""
        root = self._folder / digest
        try:
            marker = orjson.loads((root / ".ready").read_bytes())
            return marker["layout"] == _LAYOUT and all(
                (root / name).stat().st_size == size for name, size in marker["files"].items()
            )
        except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
            return False

    def describe(self, digest: str) -> Bundle:
        """Raises BundleRejected when manifest, component or page is missing or unusable."""
        return _describe(digest, self._folder / digest)

    def make(self, digest: str, archive: BinaryIO) -> None:
        """Extract `archive`, a file at its start, in place of what was there.

        Raises:
            BundleRejected: it breaks the bundle format; what was there stays.
        """
        for leftover in self._tmp.glob(f"{digest}.dir.*"):
            shutil.rmtree(leftover, ignore_errors=True)
        work = Path(tempfile.mkdtemp(dir=self._tmp, prefix=f"{digest}.dir."))
        try:
            for name in ("ui", "bundle"):
                (work / name).mkdir()
            sizes = extract(archive, work, limits=self._limits)
            _describe(digest, work)
            (work / ".ready").write_bytes(orjson.dumps({"layout": _LAYOUT, "files": sizes}))
            work.chmod(0o755)  # other processes of the folder may run as somebody else
            self.discard(digest)
            work.rename(self._folder / digest)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def discard(self, digest: str) -> None:
        """Delete, if there; renamed first, so that nobody ever sees half of a bundle."""
        aside = Path(tempfile.mkdtemp(dir=self._tmp, prefix=f"{digest}.dir."))
        with suppress(FileNotFoundError):
            (self._folder / digest).rename(aside / "old")
        shutil.rmtree(aside, ignore_errors=True)


def require_page(manifest: Manifest, ui_root: Path) -> None:
    """Raises BundleRejected when the manifest speaks of a page that is not in `ui_root`.

    Wherever `ui.entry` says that it is, this is where runners look for it.
    """
    if manifest.has_ui and not (ui_root / "index.html").is_file():
        raise BundleRejected("no_page", "ui/index.html is the page of every extension with a ui")


def _describe(digest: str, root: Path) -> Bundle:
    manifest_path = root / "bundle" / "manifest.json"
    wasm_path = root / "bundle" / "dist" / "main.wasm"
    if not manifest_path.is_file():
        raise BundleRejected("no_manifest", "manifest.json is missing")
    if not wasm_path.is_file():
        raise BundleRejected("no_component", "dist/main.wasm is missing")
    try:
        manifest = parse_manifest(manifest_path.read_bytes())
    except ManifestError as error:
        raise BundleRejected("bad_manifest", str(error)) from error
    require_page(manifest, root / "ui")
    return Bundle(
        content_hash=f"sha256:{digest}",
        root=root,
        wasm_path=wasm_path,
        ui_root=root / "ui",
        manifest=manifest,
    )
