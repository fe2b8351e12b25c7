"""Opens a bundle's archive: tar inside zstd (RFC 8878), made by a stranger.

Nothing is skipped or mended in silence: an archive with an entry that breaks a rule is
refused whole, so what runs is exactly what was packed.
"""

import io
import os
import tarfile
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

import zstandard

from backends.bundles.errors import BundleRejected

_COPY_BYTES = 256 * 1024
_HEADER_BYTES = 1024 * 1024  # what one entry's headers may take, long names included
_MAX_WINDOW_BYTES = 1 << 27  # what every zstd level needs at most without --long
_MAX_NAME_BYTES = 1024
_MAX_SEGMENT_BYTES = 255
_UNPRINTABLE = frozenset({"Cc", "Cs"})  # controls, and bytes of a file's name that are no text
_BY_MACOS = ", added by tar on macOS: set COPYFILE_DISABLE=1, or `python -m gateway bundle pack`"
_FILE_TYPES = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE})


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveLimits:
    """How much an archive may cost whoever opens it."""

    max_archive_bytes: int = 256 * 1024 * 1024
    max_entries: int = 10_000  # and as many folders around them
    max_entry_bytes: int = 256 * 1024 * 1024
    max_total_bytes: int = 1024 * 1024 * 1024
    max_ratio: int = 200  # unpacked bytes to one packed byte
    ratio_counts_from_bytes: int = 16 * 1024 * 1024  # small texts compress better than that


def extract(archive: BinaryIO, into: Path, *, limits: ArchiveLimits) -> dict[str, int]:
    """Unpack an archive below `into`: "ui/..." stays there, all else goes below "bundle".

    Blocking. Writes nothing outside `into`, which must be empty and private; on failure the
    caller throws it away. Files get mode 0444, parents are made as needed.

    Args:
        archive: a seekable file at its start.

    Returns:
        The size of every file written, by its path below `into`.

    Raises:
        BundleRejected: an entry or the archive breaks a rule or a limit.
        OSError: the disk would not.
    """
    reader = _CappedReader(archive, limits)
    sizes: dict[str, int] = {}
    folders: set[str] = set()
    try:
        with tarfile.open(
            fileobj=reader,
            mode="r|",
            tarinfo=_StrictTarInfo,
            encoding="utf-8",
            errors="strict",
        ) as tar:
            for member in _members(tar, reader, limits):
                name = entry_name(member.name, is_directory=member.isdir())
                if not member.isdir():
                    place = name if name.startswith("ui/") else f"bundle/{name}"
                    folders.update(_new_folders(place, folders))
                    if len(folders) > limits.max_entries:
                        raise BundleRejected("too_many_folders", f"more than {limits.max_entries}")
                    sizes[place] = _write(tar, member, into / place)
        reader.drain()
    except (tarfile.TarError, zstandard.ZstdError, ValueError, RecursionError) as error:
        # ValueError: tarfile's own reading of headers, such as the map of a sparse file.
        raise BundleRejected("not_an_archive", type(error).__name__) from error
    return sizes


def entry_name(name: str, *, is_directory: bool = False) -> str:
    """Normalise an entry's name: no leading "./", no trailing slash on a directory.

    Raises:
        BundleRejected: it is absolute, hidden, too long or unprintable, or has an empty,
            "." or ".." segment. Two dots inside a segment mean nothing.

    >>> entry_name("./ui/a..b.js"), entry_name("./", is_directory=True)
    ('ui/a..b.js', '')
    >>> entry_name("ui/../main.wasm")
    Traceback (most recent call last):
    ...
    backends.bundles.errors.BundleRejected: dot_segment: 'ui/../main.wasm'
    """
    bare = name
    while bare.startswith("./"):
        bare = bare[2:]
    if is_directory:
        bare = "" if bare == "." else bare.removesuffix("/")
        if not bare:
            return ""
    if fault := _fault_of(bare):
        is_apple_double = fault == "hidden_segment" and bare.rpartition("/")[2].startswith("._")
        raise BundleRejected(fault, shown(name) + (_BY_MACOS if is_apple_double else ""))
    return bare


def shown(name: str) -> str:
    """An entry's name as it may appear in a message: escaped and bounded."""
    return ascii(name[:100])


def _fault_of(name: str) -> str | None:
    if name.startswith("/"):
        return "absolute_name"
    if "\\" in name or any(unicodedata.category(character) in _UNPRINTABLE for character in name):
        return "unprintable_name"
    segments = name.split("/")
    if ".." in segments or "." in segments:
        return "dot_segment"
    if "" in segments:
        return "empty_segment"
    if any(segment.startswith(".") for segment in segments):
        return "hidden_segment"
    sizes = [len(segment.encode()) for segment in segments]
    if max(sizes) > _MAX_SEGMENT_BYTES or sum(sizes) + len(sizes) > _MAX_NAME_BYTES:
        return "name_too_long"
    return None


def _members(
    tar: tarfile.TarFile, reader: "_CappedReader", limits: ArchiveLimits
) -> Iterator[tarfile.TarInfo]:
    count = 0
    while True:
        reader.expect(_HEADER_BYTES)
        member = tar.next()
        if member is None:
            return
        count += 1
        if count > limits.max_entries:
            raise BundleRejected("too_many_entries", f"more than {limits.max_entries}")
        if not member.isdir() and (member.type not in _FILE_TYPES or member.issparse()):
            raise BundleRejected("not_a_file", shown(member.name))
        if not 0 <= member.size <= limits.max_entry_bytes:
            raise BundleRejected("entry_too_large", shown(member.name))
        reader.expect(member.size + _HEADER_BYTES)
        yield member


def _new_folders(place: str, known: Collection[str]) -> Iterator[str]:
    """The folders that `place` needs besides those known: one name of a kilobyte needs 500."""
    folder = place.rpartition("/")[0]
    while folder and folder not in known:
        yield folder
        folder = folder.rpartition("/")[0]


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> int:
    source = tar.extractfile(member)
    if source is None:
        raise BundleRejected("not_a_file", shown(member.name))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o444)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        # Also how "A" beside "a" shows on a file system that cannot tell them apart.
        raise BundleRejected("duplicate_name", shown(member.name)) from error
    with source, open(descriptor, "wb") as file:
        while chunk := source.read(_COPY_BYTES):
            file.write(chunk)
        os.fchmod(descriptor, 0o444)
        return file.tell()


class _StrictTarInfo(tarfile.TarInfo):
    """Refuses what tarfile takes for the end of the archive though it is not."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # typeshed does not know it
            raise  # a block of zeros is the end
        except tarfile.HeaderError as error:
            raise BundleRejected("not_an_archive", type(error).__name__) from error


class _CappedReader(io.RawIOBase):
    """Decompresses as it is read, and stops where an honest archive would have ended."""

    def __init__(self, archive: BinaryIO, limits: ArchiveLimits) -> None:
        size = os.fstat(archive.fileno()).st_size
        if size > limits.max_archive_bytes:
            raise BundleRejected("archive_too_large", f"{size} bytes")
        self._source = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES).stream_reader(
            archive, read_across_frames=True, closefd=False
        )
        self._total = 0
        self._total_cap = limits.max_total_bytes
        self._ratio_cap = max(limits.ratio_counts_from_bytes, size * limits.max_ratio)
        self._next_cap = _HEADER_BYTES

    def expect(self, size: int) -> None:
        """Allow `size` more bytes, so that no header can make tarfile read on and on."""
        self._next_cap = self._total + size

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size)
        self._total += len(data)
        if self._total > self._total_cap:
            raise BundleRejected("unpacks_too_large", f"more than {self._total_cap} bytes")
        if self._total > self._ratio_cap:
            raise BundleRejected("compression_ratio", "unpacks to suspiciously much")
        if self._total > self._next_cap:
            raise BundleRejected("header_too_large")
        return data

    def drain(self) -> None:
        """Read to the end, so that a damaged tail does not pass."""
        self.expect(self._total_cap)
        while self.read(_COPY_BYTES):
            pass
