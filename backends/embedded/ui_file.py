"""Opens the UI files of bundles and knows their entity tags. Blocking: for threads."""

import hashlib
import os
import stat
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from backends.asset_path import INDEX, AssetPath
from backends.bundles.store import BundleStore
from backends.embedded.file_stream import FileStream
from backends.errors import AssetNotFound, Phase, RunnerRefusedSize

SMALL_FILE_BYTES = 64 * 1024  # held as bytes: cheaper than a stream

_MAX_ETAGS = 8192
_HASH_BYTES = 1024 * 1024


@dataclass(slots=True, kw_only=True)
class UiFile:
    """A file to answer with: all of its bytes when it is small, else its descriptor."""

    content_type: str
    size: int
    etag: str  # strong, quoted
    content: bytes = field(default=b"", repr=False)
    descriptor: int | None = None

    def body(self, offset: int, length: int) -> bytes | FileStream:
        """The part to send; a stream takes the descriptor over."""
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is None:
            return self.content[offset : offset + length]
        return FileStream(descriptor, offset=offset, length=length)

    def close(self) -> None:
        """Close the descriptor unless a stream has it. Safe to call twice."""
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class UiFiles:
    """The UI files of every bundle of a store. Thread-safe."""

    def __init__(self, store: BundleStore, *, max_asset_bytes: int | None) -> None:
        self._store = store
        self._max_asset_bytes = max_asset_bytes
        self._etags: OrderedDict[tuple[str, str, int, int], str] = OrderedDict()
        self._guard = Lock()

    def open(self, content_hash: str, path: AssetPath) -> UiFile:
        """Open what `path` means: a file, or the page for a route of its own router.

        Raises:
            BundleError: there is no such bundle, or it cannot be used.
            AssetNotFound: there is no such file, and only a file can be meant.
            RunnerRefusedSize: the file is larger than the limit.
            OSError: the disk would not.
        """
        ui_root = self._store.open(content_hash).ui_root
        descriptor = _open_regular(ui_root / path.relative) if path.segments else None
        if descriptor is None and not path.names_a_file:
            path = INDEX
            descriptor = _open_regular(ui_root / path.relative)
        if descriptor is None:
            raise AssetNotFound
        try:
            return self._describe(descriptor, content_hash.lower(), path)
        except BaseException:
            os.close(descriptor)
            raise

    def _describe(self, descriptor: int, content_hash: str, path: AssetPath) -> UiFile:
        status = os.fstat(descriptor)
        size = status.st_size
        if self._max_asset_bytes is not None and size > self._max_asset_bytes:
            raise RunnerRefusedSize("asset_too_large", phase=Phase.ADMIT)
        small = size <= SMALL_FILE_BYTES
        content = os.pread(descriptor, size, 0) if small else b""
        # Time and size are in the key only so that a meddler's edit gets a tag of its own.
        key = (content_hash, path.relative, status.st_mtime_ns, size)
        etag = self._recall(key)
        if etag is None:
            sha256 = hashlib.sha256(content)
            for offset in () if small else range(0, size, _HASH_BYTES):
                sha256.update(os.pread(descriptor, _HASH_BYTES, offset))
            etag = f'"sha256-{sha256.hexdigest()}"'
            self._remember(key, etag)
        if small:
            os.close(descriptor)
        return UiFile(
            content_type=path.content_type,
            size=size,
            etag=etag,
            content=content,
            descriptor=None if small else descriptor,
        )

    def _recall(self, key: tuple[str, str, int, int]) -> str | None:
        with self._guard:
            if key in self._etags:
                self._etags.move_to_end(key)
            return self._etags.get(key)

    def _remember(self, key: tuple[str, str, int, int], etag: str) -> None:
        with self._guard:
            self._etags[key] = etag
            if len(self._etags) > _MAX_ETAGS:
                self._etags.popitem(last=False)


def _open_regular(path: Path) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None
