"""An answer that came in one read, as most small ones do: read in one go.

Only answers of the plainest kind, whose length is told and whose last byte is the read's last
byte; everything else is left to `AnswerReader`, which reads every form of an answer.
"""

import re
from typing import Final, NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from backends.contract import Pairs
from backends.memo import Memo
from backends.upstream.bodies import WholeBody

MAX_HEAD_BYTES: Final = 16 * 1024
MAX_FIELDS: Final = 128

_HEAD_END: Final = b"\r\n\r\n"
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2}) [\x20-\x7e]*")
_NO_CONTENT: Final = 204
_NOT_MODIFIED: Final = 304
_BLANK: Final = (b" ", b"\t")
# A field of these says more about the connection than this file wants to know.
_UNCOMMON: Final = frozenset({"keep-alive", "trailer", "transfer-encoding", "upgrade"})
_NEVER_KEPT: Final = frozenset({"authorization", "set-cookie"})

_MAX_HEADS: Final = 256
_MAX_KNOWN_HEAD_BYTES: Final = 1024
_heads: Memo[bytes, "_Head"] = Memo(_MAX_HEADS)
"""A file's head changes with the second in its Date at most: heads that were read lately."""

_MAX_LINES: Final = 1024
_MAX_LINE_BYTES: Final = 256
_lines: Memo[bytes, tuple[str, str]] = Memo(_MAX_LINES)
"""A runner says the same about each of its files: read once, kept within a bound."""


class WholeAnswer(NamedTuple):
    status: int
    headers: Pairs  # names in lower case
    body: WholeBody


class _Head(NamedTuple):
    """A head that llhttp has accepted, and how many bytes of content follow it."""

    status: int
    headers: Pairs
    length: int


class WholeAnswerReader:
    """For the answers of one connection; not for those to HEAD."""

    __slots__ = ("_complete", "_parser")

    def __init__(self) -> None:
        self._complete = False
        self._parser = HttpResponseParser(self)

    def read(self, data: bytes) -> WholeAnswer | None:
        """The answer that these bytes are; None when that takes a closer look."""
        end = data.find(_HEAD_END)
        if not 0 <= end <= MAX_HEAD_BYTES:
            return None
        head = data[:end]
        known = _heads.get(head)
        if known is not None and known.length == len(data) - end - 4:
            return WholeAnswer(known.status, known.headers, WholeBody(data, end + 4))
        line, *lines = head.split(b"\r\n")
        status_line = _STATUS_LINE.fullmatch(line)
        if status_line is None or len(lines) > MAX_FIELDS:
            return None
        try:
            headers = tuple([_lines.get(each) or _field(each) for each in lines])
        except ValueError:
            return None
        status, length = int(status_line[1]), len(data) - end - 4
        if not _is_length_told(status, headers, length) or not self._is_whole(data):
            return None
        _remember(head, _Head(status, headers, length))
        return WholeAnswer(status, headers, WholeBody(data, end + 4))

    def _is_whole(self, data: bytes) -> bool:
        """Whether llhttp, in its strict mode, finds one answer in this, and its end at the end."""
        self._complete = False
        try:
            self._parser.feed_data(data)
            if self._complete:
                return True
        except (HttpParserError, HttpParserUpgrade):
            pass
        self._parser = HttpResponseParser(self)
        return False

    def on_message_complete(self) -> None:
        # Asked later the parser would speak of the next message.
        self._complete = self._parser.should_keep_alive()


def _remember(raw: bytes, head: _Head) -> None:
    if len(raw) <= _MAX_KNOWN_HEAD_BYTES and not any(
        name in _NEVER_KEPT for name, _ in head.headers
    ):
        _heads.keep(raw, head)


def _is_length_told(status: int, headers: Pairs, came: int) -> bool:
    length = None
    for name, value in headers:
        if name == "content-length":
            if length is not None or not (value.isascii() and value.isdigit()):
                return False
            length = value
        elif name in _UNCOMMON or (name == "connection" and value.lower() != "keep-alive"):
            return False
    if status == _NO_CONTENT:
        return False  # it has no body, whatever its length says: llhttp may pass over what follows
    if status == _NOT_MODIFIED:
        return length in (None, "0") and not came
    return length is not None and len(length) < 10 and int(length) == came


def _field(line: bytes) -> tuple[str, str]:
    """Name in lower case and value; ValueError when blanks could be read in two ways."""
    raw_name, colon, raw_value = line.partition(b":")
    if not colon or not raw_name.isascii() or line.startswith(_BLANK) or line.endswith(_BLANK):
        raise ValueError("no plain field line")
    name = raw_name.decode().lower()
    field = (name, raw_value.lstrip(b" \t").decode("utf-8", "surrogateescape"))
    if name not in _NEVER_KEPT and len(line) <= _MAX_LINE_BYTES:
        _lines.keep(line, field)
    return field
