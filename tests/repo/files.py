"""The files of the repository, as somebody who clones it gets them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent
PACKAGES: Final = ("gateway", "middleware", "backends")

_MADE_LATER: Final = {
    ".git",
    ".gateway",
    ".hypothesis",
    ".next",
    ".venv",
    "__pycache__",
    "build",
    "node_modules",
}
_NOT_CLONED: Final = {".coverage", ".env", ".env.local", ".git"}  # .git: of a worktree
_BINARY: Final = {".gif", ".ico", ".jpg", ".png", ".wasm", ".webp", ".woff2", ".zst"}


def text_files() -> Iterator[Path]:
    """Every text file, without what tools make and what .gitignore leaves out."""
    pending = [ROOT]
    while pending:
        for path in pending.pop().iterdir():
            name = path.name
            if path.is_dir():
                if name not in _MADE_LATER and not name.endswith(("_cache", ".egg-info")):
                    pending.append(path)
            elif path.suffix not in _BINARY and name not in _NOT_CLONED:
                yield path


def modules() -> Iterator[Path]:
    """Every module of the three packages."""
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
