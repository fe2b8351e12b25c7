"""Files that outlive the process and are shared by several: named by the hash of their bytes.

Two kinds of files lie in the folder: `blobs/<sha256>` is content; `names/<sha256 of bundle
and path>` is a line of JSON that says which content a path means and with which fields. Both
appear whole, by renaming, and may vanish at any moment: another process needed the room. A
crash can leave nothing worse than a file nobody finds, so nothing is synced. Whatever is read
is checked against its name; and who may see a file is never kept here.

Blocking: for threads.
"""

import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from backends.contract import Pairs
from backends.files.whole import replacing
from gateway.asset_cache.entry import KEPT_FIELDS, Entry, Key

_LARGEST_RECORD: Final = 16 * 1024
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_BLOCK: Final = 4096  # what even an empty file takes up
_UNNAMED: Final = "new-"  # begins the names of files that are being written
_WRITTEN_WITHIN_S: Final = 3600.0  # after this such a file is a leftover
_SWEEP_AFTER: Final = 16  # a sixteenth of the bound may be written between two sweeps


class Disk:
    """A folder of kept files. Thread-safe, and safe beside other processes.

    Args:
        folder: made when missing, for this user alone.
        max_bytes: swept down to this, oldest use first; passed by at most a sixteenth for
            each process in between.
        largest: size in bytes of the largest file that is read.
    """

    def __init__(self, folder: Path, *, max_bytes: int, largest: int) -> None:
        self._blobs = folder / "blobs"
        self._names = folder / "names"
        self._max_bytes = max_bytes
        self._largest = largest
        self._unswept: int | None = None  # bytes written since the last sweep; None: unknown

    def open(self) -> None:
        """Make the folder, and see that files can be put there.

        Raises:
            OSError: they cannot.
        """
        self._make_folders()
        tempfile.TemporaryFile(dir=self._names, prefix=_UNNAMED).close()

    def load(self, key: Key) -> Entry | None:
        """The kept file, if it is there and whole.

        Raises:
            OSError: the folder cannot be read, which absence is not.
        """
        name = self._names / _name_of(key)
        record = _read(name, _LARGEST_RECORD)
        known = None if record is None else _parse(record, key)
        if known is None:
            return None
        sha256, fields = known
        blob = self._blobs / sha256
        content = _read(blob, self._largest)
        if content is None:
            return None
        if hashlib.sha256(content).hexdigest() != sha256:
            blob.unlink(missing_ok=True)
            return None
        for used in (name, blob):
            with suppress(OSError):  # gone meanwhile, or a read-only mount
                os.utime(used)
        return Entry(sha256, content, fields)

    def store(self, key: Key, entry: Entry) -> None:
        """Keep this file. Content that is there already is not written again.

        Raises:
            OSError: no room, or no right to write.
        """
        self._make_folders()
        blob = self._blobs / entry.sha256
        written = 0
        try:
            os.utime(blob)
        except FileNotFoundError:
            written += _write(blob, entry.body)
        record = {"bundle": key[0], "path": key[1], "sha256": entry.sha256, "fields": entry.fields}
        written += _write(self._names / _name_of(key), json.dumps(record).encode())
        self._sweep(written)

    def _make_folders(self) -> None:
        for folder in (self._blobs, self._names):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _sweep(self, written: int) -> None:
        """Make room when enough has been written since this was last done."""
        if self._unswept is not None and self._unswept + written < self._max_bytes // _SWEEP_AFTER:
            self._unswept += written
            return
        self._unswept = 0
        files = sorted(_files(self._blobs, self._names))
        excess = sum(cost for _, cost, _ in files) - self._max_bytes
        leftover_before = time.time() - _WRITTEN_WITHIN_S
        for used_at, cost, path in files:
            if excess <= 0:
                break
            if os.path.basename(path).startswith(_UNNAMED) and used_at > leftover_before:
                continue  # somebody is writing it
            with suppress(OSError):
                os.unlink(path)
            excess -= cost


def _name_of(key: Key) -> str:
    # No part of either can hold a NUL, so no two keys are joined to the same text.
    return hashlib.sha256("\0".join(key).encode()).hexdigest()


def _parse(record: bytes, key: Key) -> tuple[str, Pairs] | None:
    """What a name stands for; None when it is not one that `store` can have written."""
    try:
        match json.loads(record):
            case {"bundle": bundle, "path": path, "sha256": str(sha256), "fields": list(pairs)}:
                fields = tuple((str(name), str(value)) for name, value in pairs)
            case _:
                return None
    except (ValueError, TypeError):
        return None
    sound = (
        (bundle, path) == key
        and _SHA256.fullmatch(sha256) is not None
        and "content-type" in dict(fields)
        and all(name in KEPT_FIELDS and _VALUE.fullmatch(value) for name, value in fields)
    )
    return (sha256, fields) if sound else None


def _read(path: Path, largest: int) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        content = file.read(largest + 1)
    return content if len(content) <= largest else None


def _write(path: Path, content: bytes) -> int:
    """Returns what the file costs."""
    with replacing(path, prefix=_UNNAMED) as file:
        file.write(content)
    return max(len(content), _BLOCK)


def _files(*folders: Path) -> Iterator[tuple[float, int, str]]:
    """(last use, cost in bytes, path) of everything that lies there, leftovers included."""
    for folder in folders:
        with os.scandir(folder) as found:
            for each in found:
                with suppress(OSError):
                    status = each.stat(follow_symlinks=False)
                    yield status.st_mtime, max(status.st_size, _BLOCK), each.path
