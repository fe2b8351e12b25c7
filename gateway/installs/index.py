"""The index of a bundle folder: `installs.json`, which says who has which bundle.

It is replaced as a whole: a reader sees the index before or after a change, never between.
It holds no secret, so everybody may read it.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from backends.files.lock import file_lock
from backends.files.whole import replacing
from gateway.installs.contract import Install

MAX_INDEX_BYTES = 64 * 1024 * 1024

IndexStamp = tuple[int, int, int]


class IndexUnreadable(ValueError):
    """installs.json is not what this program writes."""


@dataclass(frozen=True, slots=True)
class _Index:
    format: Literal[1]
    installs: tuple[Install, ...]


_INDEX = TypeAdapter(_Index)
_UNWRITTEN = {"installs": {"__all__": {"secret_envelope"}}}


def index_stamp(root: Path) -> IndexStamp | None:
    """What changes whenever the index does; None while there is none. Takes microseconds."""
    try:
        status = os.stat(f"{root}/installs.json")  # joining paths would cost more than this
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def read_index(root: Path) -> tuple[Install, ...]:
    """Read all installs, as they were written: tenant "*" is everybody's. Blocking.

    Raises:
        IndexUnreadable: the file is damaged, of another format, or far too large.
        OSError: the disk would not.
    """
    try:
        with (root / "installs.json").open("rb") as file:
            raw = file.read(MAX_INDEX_BYTES + 1)
    except FileNotFoundError:
        return ()
    if len(raw) > MAX_INDEX_BYTES:
        raise IndexUnreadable(f"installs.json is larger than {MAX_INDEX_BYTES} bytes")
    try:
        return _INDEX.validate_json(raw).installs
    except ValidationError as error:
        # Its own message would quote the file.
        count = error.error_count()
        raise IndexUnreadable(f"installs.json has {count} fault(s); restore or remove it") from None


def write_index(root: Path, installs: Iterable[Install]) -> None:
    """Replace the index. Whoever changes what they read holds index_lock meanwhile. Blocking."""
    ordered = sorted(installs, key=lambda one: (one.extension_slug or "", one.tenant_id))
    raw = _INDEX.dump_json(_Index(1, tuple(ordered)), exclude=_UNWRITTEN, indent=1)
    with replacing(root / "installs.json", mode=0o644, durable=True) as file:
        file.write(raw)


@contextmanager
def index_lock(root: Path) -> Iterator[None]:
    """Keep all others, in this process and elsewhere, from changing the index. Blocking.

    Raises:
        TimeoutError: somebody else held it for a minute.
    """
    root.mkdir(parents=True, exist_ok=True)
    with file_lock(root / "installs.lock"):
        yield
