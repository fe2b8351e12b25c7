"""Reading the engine's documents with suspicion: what has another shape than expected is absent."""

import re
from collections.abc import Mapping
from typing import Any, Final

Document = Mapping[str, Any]
"""What the engine says of one container; any JSON may be in there."""

MAX_OWNERS: Final = 4
"""How far to follow containers whose network another one uses, which uses another one's..."""

NEVER: Final = "0001-01-01T00:00:00Z"
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]{8,18}(Z|[+-]\d\d:\d\d)", re.ASCII)
_COUNT = re.compile(r"\d{1,9}", re.ASCII)


def section(document: Document, *path: str) -> Document:
    """The object at this path; an empty one when there is none.

    >>> section({"State": {"Health": None}}, "State", "Health")
    {}
    """
    for name in path:
        inner = document.get(name)
        if not isinstance(inner, Mapping):
            return {}
        document = inner
    return document


def text(value: object) -> str:
    """The text, or an empty one; printable ASCII alone, at most 256 characters of it."""
    if not isinstance(value, str):
        return ""
    return "".join(character for character in value[:256] if "!" <= character <= "~")


def count(value: object) -> int | None:
    """A whole number, also when written as text."""
    written = str(value) if isinstance(value, str | int) else ""
    return int(written) if _COUNT.fullmatch(written) else None


def port(value: object) -> int | None:
    """A port that can be dialled."""
    number = count(value)
    return number if number is not None and 0 < number < 65536 else None


def instant(value: object) -> str:
    """RFC 3339, or nothing when it never was."""
    said = text(value)
    return said if _INSTANT.fullmatch(said) and said != NEVER else ""


def network_owner(document: Document) -> str | None:
    """The container whose network this one uses, as its configuration names it."""
    mode = text(section(document, "HostConfig").get("NetworkMode"))
    return mode.removeprefix("container:") or None if mode.startswith("container:") else None
