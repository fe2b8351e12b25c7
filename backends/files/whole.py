"""Files that appear whole: a reader finds the old one or the new one, never a part."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast


@contextmanager
def replacing(
    path: Path, *, mode: int = 0o600, durable: bool = False, prefix: str | None = None
) -> Iterator[BinaryIO]:
    """Write a file that takes the place of `path` when the block ends, and is gone if it raises.

    Blocking. Of several writers at once the last one wins.

    Args:
        mode: its permissions, whatever the umask says.
        durable: its bytes are on the disk before it has its name, and its name is afterwards.
        prefix: begins its name until then; it lies in the same folder. A process that dies
            leaves it behind.

    Raises:
        OSError: the disk would not; `path` is what it was, unless only its name was not synced.
    """
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=prefix or f".{path.name}.", delete=False
    ) as file:
        try:
            yield cast(BinaryIO, file)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if durable:
                os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in `folder` on the disk: those of files that were renamed into it, too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
