"""Folders that this program makes and writes to."""

import os
from pathlib import Path


def is_writable(folder: Path) -> bool:
    """Whether files can be put there, once the folder is made. Blocking; changes nothing."""
    nearest = folder.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
