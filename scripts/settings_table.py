"""Writes what follows from the variables: the tables in docs/configuration.md, .env.example.

`python -m scripts.settings_table` writes both; with `--check` it only says whether they are
current, by its exit code.
"""

import sys
import textwrap
from itertools import groupby
from pathlib import Path
from typing import Final

from gateway.variables.table import VARIABLES, Variable

ROOT: Final = Path(__file__).parent.parent
DOCUMENT: Final = ROOT / "docs" / "configuration.md"
EXAMPLE: Final = ROOT / ".env.example"
BEGIN: Final = "<!-- begin: written by scripts/settings_table.py -->"
END: Final = "<!-- end -->"

_EXAMPLE_HEAD = """\
# Every variable, at its default. Copy to .env and take away the "#" where you want another
# value. The process environment wins over this file; `kill -HUP` reads it again.
# docs/configuration.md says more; `python -m gateway check` says what counts.
"""


def markdown() -> str:
    """One table a section."""
    parts = []
    for section, rows in groupby(VARIABLES.values(), key=lambda row: row.section):
        parts.append(f"### {section}\n")
        parts.append("| variable | meaning | accepts | default | tier |\n|---|---|---|---|---|")
        parts.extend(_row(row) for row in rows)
        parts.append("")
    return "\n".join(parts)


def _row(row: Variable) -> str:
    meaning = f"{row.meaning} Secret." if row.secret else row.meaning
    tier = "static" if row.static else "dynamic"
    return f"| `{row.name}` | {meaning} | {row.accepts} | {row.default} | {tier} |"


def example() -> str:
    """A file that may be copied as it is: every variable is there, as a comment."""
    parts = [_EXAMPLE_HEAD]
    for section, rows in groupby(VARIABLES.values(), key=lambda row: row.section):
        parts.append(f"# --- {section}\n".replace("`", ""))
        parts.extend(_entry(row) for row in rows)
    return "\n".join(parts)


def _entry(row: Variable) -> str:
    restart = " Needs a restart." if row.static else ""
    about = f"{row.meaning} Accepts {row.accepts}. Default: {row.default}.{restart}"
    comment = textwrap.fill(
        about.replace("`", ""), width=98, initial_indent="# ", subsequent_indent="# "
    )
    return f"{comment}\n#{row.name}={row.written_default}\n"


def documented(page: str) -> str:
    """`page` with the text between the markers made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{markdown()}\n{END}{after}"


def main(arguments: list[str]) -> int:
    page = DOCUMENT.read_text(encoding="utf-8")
    wanted = {DOCUMENT: documented(page), EXAMPLE: example()}
    stale = [path for path, text in wanted.items() if _read(path) != text]
    if "--check" in arguments:
        for path in stale:
            sys.stderr.write(f"{path.relative_to(ROOT)} is not current: make fmt\n")
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
    return 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
