"""Reads requests that came whole in one read, and are of a plain kind that llhttp accepts.

No socket and no event loop. What this does not take is not an error: it goes, byte for byte, to
aiohttp's own parser, which knows every other form of a request and every way to refuse one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from backends.memo import Memo
from gateway.fast_path.blocks import BLOCKS, Block

MAX_HEAD_BYTES: Final = 8190
"""A longer head may break one of aiohttp's limits, so it is aiohttp's to judge."""

MAX_FIELDS: Final = 128
UNKNOWN: Final = -1

_KEEP_ALIVE: Final = "keep-alive"
_CONNECTIONS: Final = frozenset({_KEEP_ALIVE, "close"})  # the rest is for aiohttp to judge
_VERSION: Final = b" HTTP/1.1"
_HEAD_END: Final = b"\r\n\r\n"
# What makes a request more than a head and a body of known length, or changes what the body is.
_UNCOMMON: Final = frozenset({"content-encoding", "expect", "upgrade"})
_BLANK: Final = (b" ", b"\t")

# What every visitor with the same browser sends alike, so that it is read once.
_REPETITIVE: Final = frozenset({
    "accept", "accept-encoding", "accept-language", "connection", "content-length",
    "content-type", "dnt", "host", "priority", "sec-ch-ua", "sec-ch-ua-mobile",
    "sec-ch-ua-platform", "sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site", "user-agent",
})  # fmt: skip
_MAX_LINES: Final = 1024
_MAX_LINE_BYTES: Final = 256
_lines: Memo[bytes, tuple[str, str]] = Memo(_MAX_LINES)

# Request lines that llhttp has accepted: with fields that it has accepted, too, they are a head.
_MAX_SOUND: Final = 1024
_sound: Memo[bytes, bool] = Memo(_MAX_SOUND)


@dataclass(slots=True)
class Parsed:
    """A request that needs nothing but an answer.

    Attributes:
        line: the request line, without its line break.
        fields: names in lower case, each of them once.
        made: a cache that other requests with the same fields share (Block.made); None: not kept.
        body: None when the head speaks of none.
    """

    line: bytes
    fields: Mapping[str, str]
    made: dict[Any, Any] | None
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Unfit:
    """Bytes for aiohttp's parser.

    Attributes:
        left: how many are still to come before the next message begins; None while the head
            is not complete, UNKNOWN when only a parser can tell.
    """

    left: int | None


class RequestReader:
    """Reads the requests of one connection, each from its first to its last byte."""

    __slots__ = ("_block", "_complete", "_fields", "_known", "_parser")

    def __init__(self) -> None:
        self._complete = False
        # The last block with a credential: what this connection's next request is likely to say.
        self._block = b""
        self._known: Block | None = None
        self._fields: Mapping[str, str] = {}
        self._parser = HttpRequestParser(self)

    def read(self, data: bytes) -> Parsed | Unfit:
        """What these bytes are, which begin where a message begins."""
        end = len(data) - 4 if data.endswith(_HEAD_END) else data.find(_HEAD_END)
        if end < 0:
            return Unfit(None if self._may_go_on(data) else UNKNOWN)
        line_end = data.find(b"\r\n")
        line, block = data[:line_end], data[line_end:end]
        known, fields = self._known, self._fields
        if block != self._block and (known := BLOCKS.get(block)) is not None:
            fields = known.fields_in(block)
            if known.credentials:
                self._block, self._known, self._fields = block, known, fields
        if known is not None and line in _sound and known.body_bytes == len(data) - end - 4:
            body = None if known.length is None else data[end + 4 :]
            return Parsed(line, fields, known.made, body)
        return self._read_anew(data, line, block, end)

    def _read_anew(self, data: bytes, line: bytes, block: bytes, end: int) -> Parsed | Unfit:
        """Read what has not been read before; the head ends at `end`."""
        lines = block.split(b"\r\n")[1:]
        try:
            fields = dict([_lines.get(each) or _field(each) for each in lines])
        except ValueError:
            return Unfit(UNKNOWN)
        if "transfer-encoding" in fields:
            return Unfit(UNKNOWN)
        length = fields.get("content-length")
        body = None if length is None else data[end + 4 :]
        left = _left(length, len(data) - end - 4)
        if left:
            return Unfit(left)
        if not self._is_whole(data):
            return Unfit(UNKNOWN)
        connection = fields.get("connection", _KEEP_ALIVE).lower()
        if (
            not line.endswith(_VERSION)  # the one before parts after every answer
            or end > MAX_HEAD_BYTES
            or len(lines) > MAX_FIELDS
            or len(fields) != len(lines)
            or "host" not in fields
            or connection not in _CONNECTIONS
            or not _UNCOMMON.isdisjoint(fields)
        ):
            self._parser = HttpRequestParser(self)  # some messages are the last that it reads
            return Unfit(0)
        if connection != _KEEP_ALIVE:
            self._parser = HttpRequestParser(self)  # and so is this one
        if len(line) <= _MAX_LINE_BYTES:
            _sound.keep(line, True)
        return Parsed(line, fields, BLOCKS.remember(block, fields), body)

    def _is_whole(self, data: bytes) -> bool:
        """Whether llhttp, in its strict mode, finds one message in this, and its end at the end."""
        self._complete = False
        try:
            self._parser.feed_data(data)
            if self._complete:
                return True
        except (HttpParserError, HttpParserUpgrade):
            pass
        self._parser = HttpRequestParser(self)
        return False

    def _may_go_on(self, data: bytes) -> bool:
        """Whether this may be the beginning of a head; else no more of it is worth waiting for."""
        try:
            HttpRequestParser(self).feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            return False
        return True

    def on_message_complete(self) -> None:
        self._complete = True


def _left(length: str | None, came: int) -> int:
    """How many bytes of the body are still to come; UNKNOWN when there are more than its own."""
    if length is None:
        return UNKNOWN if came else 0
    if not (length.isascii() and length.isdigit()) or len(length) > 15:
        return UNKNOWN
    return max(int(length) - came, UNKNOWN)


def _field(line: bytes) -> tuple[str, str]:
    """Name in lower case and value of a field line.

    Raises ValueError when it is none, or when its blanks could be read in two ways: those that
    continue the line before, and those at the end.
    """
    raw_name, colon, raw_value = line.partition(b":")
    if not colon or not raw_name.isascii() or line.startswith(_BLANK) or line.endswith(_BLANK):
        raise ValueError("no plain field line")
    name = raw_name.decode().lower()
    field = (name, raw_value.lstrip(b" \t").decode("utf-8", "surrogateescape"))
    if name in _REPETITIVE and len(line) <= _MAX_LINE_BYTES:
        _lines.keep(line, field)
    return field
