"""Which bytes does the client want? The Range field of RFC 9110 section 14. Pure."""

import re
from dataclasses import dataclass

_SINGLE_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,64})-([0-9]{0,64})[ \t]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from `first` to `last`, both included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """How many bytes; at least one."""
        return self.last - self.first + 1


class RangeNotSatisfiable(Exception):
    """The range begins beyond the end: 416 (RFC 9110 section 15.5.17)."""


def parse_range(value: str | None, size: int) -> ByteRange | None:
    """Read a Range field for a representation of `size` bytes.

    Returns:
        The one range asked for, cut to what exists. None when the whole is the answer: no
        field, another unit, bad syntax, or several ranges, all of which may be ignored.

    Raises:
        RangeNotSatisfiable: no byte of the representation is in the range.

    >>> parse_range("bytes=0-3", 10), parse_range("bytes=-3", 10)
    (ByteRange(first=0, last=3), ByteRange(first=7, last=9))
    >>> parse_range("bytes=0-1,4-5", 10) is None
    True
    """
    matched = _SINGLE_RANGE.fullmatch(value.strip()) if value is not None else None
    if matched is None or matched.group(1) == matched.group(2) == "":
        return None
    first_text, last_text = matched.groups()
    if not first_text:
        return _suffix(int(last_text), size)
    first = int(first_text)
    if last_text and int(last_text) < first:
        return None
    if first >= size:
        raise RangeNotSatisfiable
    return ByteRange(first, min(int(last_text), size - 1) if last_text else size - 1)


def _suffix(length: int, size: int) -> ByteRange | None:
    if length == 0:
        raise RangeNotSatisfiable
    if size == 0:
        return None  # satisfiable, but no Content-Range can say "no bytes"
    return ByteRange(max(0, size - length), size - 1)
