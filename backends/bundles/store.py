"""The folder of bundles: content-addressed, shared by any number of processes.

Below the root: `archives/<hex>.tar.zst` is what was installed and the only truth;
`extracted/<hex>/{ui,bundle}/` with its marker `.ready` is made from it and can be made again;
`tmp/` holds work in progress and lock files.
"""

import errno
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, TypeVar

from backends.bundles.archive import ArchiveLimits
from backends.bundles.errors import BundleCorrupt, BundleError, BundleNotFound, BundleRejected
from backends.bundles.extracted import Bundle, ExtractedBundles
from backends.files.lock import LOCK_DEADLINE_S, file_lock
from backends.files.whole import sync_folder
from backends.ui_url import is_content_hash

DEFAULT_LIMITS = ArchiveLimits()

_COPY_BYTES = 1024 * 1024
_MAX_OPENED = 4096
_MAX_REFUSALS = 256
_LEFTOVER_S = 3600.0  # nothing staged is worked on for longer

_Stamp = tuple[int, int, int]
_T = TypeVar("_T")


class BundleStore:
    """Bundles by their content hash. Blocking and thread-safe.

    Every method raises BundleError: its three kinds as they say, itself with the reason
    "storage_failed" when the disk would not, "lock_timeout" when another process held a
    bundle for a minute, "archive_unreadable" when the file to add cannot be opened.
    """

    def __init__(self, root: Path, *, limits: ArchiveLimits = DEFAULT_LIMITS) -> None:
        self._archives = root / "archives"
        self._tmp = root / "tmp"
        self._extracted_folder = root / "extracted"
        self._extracted = ExtractedBundles(self._extracted_folder, self._tmp, limits)
        self._limits = limits
        self._guard = threading.Lock()
        self._opening: dict[str, threading.Lock] = {}
        self._opened: dict[str, Bundle] = {}
        self._refused: dict[str, tuple[_Stamp, BundleError]] = {}

    def open(self, content_hash: str) -> Bundle:
        """Find a bundle; the first time in this process verify and, if needed, extract it.

        Later calls are a dictionary lookup. That nothing was found is never remembered, so
        what another process installs is there at once. What it removes stays usable here.

        Raises:
            BundleNotFound: no such archive, or not a content hash at all.
            BundleCorrupt: the archive's bytes do not have this hash.
            BundleRejected: the archive breaks the bundle format.
        """
        digest = _digest_of(content_hash)
        if (bundle := self._opened.get(digest)) is not None:
            return bundle
        try:
            self._refuse_again(digest, _stamp(self._find(digest)))
            with self._locked_for_threads(digest):
                if (bundle := self._opened.get(digest)) is not None:
                    return bundle
                bundle = self._open_first(digest)
                _remember(self._opened, digest, bundle, _MAX_OPENED)
                return bundle
        except OSError as error:
            raise _storage_failed(error) from error

    def add(self, archive: Path) -> Bundle:
        """Verify an archive and copy it in under its hash, in one step; adding twice is fine.

        Raises:
            BundleRejected: the archive breaks the bundle format; nothing was added.
        """
        try:
            for folder in (self._archives, self._extracted_folder, self._tmp):
                folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            descriptor, name = tempfile.mkstemp(dir=self._tmp, prefix="incoming.")
            try:
                with open(descriptor, "w+b") as staged:
                    digest = self._stage(archive, staged)
                    self._publish(digest, staged, Path(name))
            finally:
                Path(name).unlink(missing_ok=True)
        except OSError as error:
            raise _storage_failed(error) from error
        return self.open(f"sha256:{digest}")

    def remove(self, content_hash: str) -> None:
        """Delete a bundle; a call that is reading its files may finish.

        Raises:
            BundleNotFound: no such archive.
        """
        digest = _digest_of(content_hash)
        try:
            self._find(digest)
            self._tmp.mkdir(exist_ok=True)
            with self._locked_for_threads(digest), self._locked_for_processes(digest):
                self._find(digest)
                self._opened.pop(digest, None)
                self._archive_path(digest).unlink()
                self._extracted.discard(digest)
                self._lock_path(digest).unlink()
        except OSError as error:
            raise _storage_failed(error) from error

    def hashes(self) -> tuple[str, ...]:
        """The content hashes of all archives, sorted; unverified."""
        names = (path.name.removesuffix(".tar.zst") for path in self._archives.glob("*.tar.zst"))
        return tuple(
            sorted(f"sha256:{name}" for name in names if is_content_hash(f"sha256:{name}"))
        )

    def _find(self, digest: str) -> os.stat_result:
        try:
            return self._archive_path(digest).stat()
        except FileNotFoundError as error:
            raise BundleNotFound("bundle_not_found") from error

    def _open_first(self, digest: str) -> Bundle:
        """Verify the archive, make sure that it is extracted, remember a refusal."""
        self._find(digest)
        with self._archive_path(digest).open("rb") as archive:
            stamp = _stamp(os.fstat(archive.fileno()))
            self._refuse_again(digest, stamp)
            try:
                self._verify(digest, archive)
                self._ensure_extracted(digest, archive)
                return self._extracted.describe(digest)
            except (BundleCorrupt, BundleRejected) as error:
                _remember(self._refused, digest, (stamp, error), _MAX_REFUSALS)
                raise

    def _verify(self, digest: str, archive: BufferedReader) -> None:
        if os.fstat(archive.fileno()).st_size > self._limits.max_archive_bytes:
            raise BundleRejected("archive_too_large")
        if hashlib.file_digest(archive, "sha256").hexdigest() != digest:
            raise BundleCorrupt("archive_hash_mismatch")

    def _ensure_extracted(self, digest: str, archive: BinaryIO) -> None:
        # No lock is needed to see that the work is done: a read-only folder serves, too.
        if self._extracted.is_ready(digest):
            return
        for folder in (self._extracted_folder, self._tmp):
            folder.mkdir(exist_ok=True)
        with self._locked_for_processes(digest):
            self._find(digest)  # gone when another process removed it meanwhile
            if not self._extracted.is_ready(digest):
                archive.seek(0)
                self._extracted.make(digest, archive)

    def _publish(self, digest: str, staged: BinaryIO, staged_path: Path) -> None:
        with self._locked_for_threads(digest), self._locked_for_processes(digest):
            if not self._extracted.is_ready(digest):
                staged.seek(0)
                self._extracted.make(digest, staged)
            os.replace(staged_path, self._archive_path(digest))
            sync_folder(self._archives)

    def _stage(self, source: Path, staged: BinaryIO) -> str:
        sha256 = hashlib.sha256()
        size = 0
        with _open_source(source) as archive:
            while chunk := archive.read(_COPY_BYTES):
                size += len(chunk)
                if size > self._limits.max_archive_bytes:
                    raise BundleRejected("archive_too_large")
                sha256.update(chunk)
                staged.write(chunk)
        staged.flush()
        os.fchmod(staged.fileno(), 0o444)
        os.fsync(staged.fileno())
        return sha256.hexdigest()

    def _sweep(self) -> None:
        """Delete what a process that died in `add` left behind."""
        for leftover in self._tmp.glob("incoming.*"):
            with suppress(FileNotFoundError):
                if time.time() - leftover.stat().st_mtime > _LEFTOVER_S:
                    leftover.unlink()

    @contextmanager
    def _locked_for_threads(self, digest: str) -> Iterator[None]:
        """Keep the other threads of this process from the bundle."""
        with self._guard:
            lock = self._opening.setdefault(digest, threading.Lock())
        if not lock.acquire(timeout=LOCK_DEADLINE_S):
            raise BundleError("lock_timeout")
        try:
            yield
        finally:
            lock.release()
            with self._guard:
                self._opening.pop(digest, None)

    @contextmanager
    def _locked_for_processes(self, digest: str) -> Iterator[None]:
        """Keep the other processes that share the folder from the bundle."""
        try:
            with file_lock(self._lock_path(digest)):
                yield
        except TimeoutError as error:
            raise BundleError("lock_timeout") from error

    def _refuse_again(self, digest: str, stamp: _Stamp) -> None:
        """Raise what was wrong with this very file when it was last looked at, if anything was."""
        known = self._refused.get(digest)
        if known is not None and known[0] == stamp:
            raise type(known[1])(known[1].reason, known[1].detail)

    def _archive_path(self, digest: str) -> Path:
        return self._archives / f"{digest}.tar.zst"

    def _lock_path(self, digest: str) -> Path:
        return self._tmp / f"{digest}.lock"


def _digest_of(content_hash: str) -> str:
    if not is_content_hash(content_hash):
        raise BundleNotFound("invalid_content_hash")
    return content_hash.partition(":")[2].lower()


def _open_source(source: Path) -> BinaryIO:
    try:
        return source.open("rb")
    except OSError as error:
        raise BundleError(
            "archive_unreadable", errno.errorcode.get(error.errno or 0, "")
        ) from error


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _remember(table: dict[str, _T], digest: str, value: _T, bound: int) -> None:
    while len(table) >= bound:
        table.pop(next(iter(table)), None)
    table[digest] = value


def _storage_failed(error: OSError) -> BundleError:
    return BundleError("storage_failed", errno.errorcode.get(error.errno or 0, ""))
