"""What lies in folders, for tests that look whether something was left behind."""

from pathlib import Path


def files_below(folder: Path) -> list[str]:
    return sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())


def leftovers(root: Path) -> list[str]:
    return [name for name in files_below(root / "tmp") if not name.endswith(".lock")]
