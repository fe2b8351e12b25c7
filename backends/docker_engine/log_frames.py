"""From the engine's log bytes to lines: a pure decoder, fed with whatever arrived.

Without a terminal every message is a frame: {stream, 0, 0, 0, length as big-endian 32 bits} and
the payload. With one the bytes come bare. Which it is, the container's configuration says;
guessing from the bytes takes text for lengths and waits for gigabytes that never come.
"""

import re
import struct
from typing import Final

from backends.runner_log import LogLine, Stream

MAX_LINE_BYTES: Final = 16 * 1024

_HEADER: Final = struct.Struct(">BxxxL")
_STREAMS: Final[dict[int, Stream]] = {0: "stdout", 1: "stdout", 2: "stderr", 3: "stderr"}
# What `timestamps=1` puts before every message, also before the next piece of a long line.
_INSTANT = re.compile(
    rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) ", re.ASCII
)
_INSTANT_BYTES: Final = 40


class LogFramingError(Exception):
    """The bytes are not frames; reading on would wait for nonsense."""


class LogDecoder:
    """Turns chunks into lines; the same lines however the chunks were cut.

    Args:
        tty: the container's Config.Tty.
        max_line_bytes: what is kept of a line; the rest is read and dropped.
    """

    def __init__(self, *, tty: bool, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._tty = tty
        self._lines = {
            stream: _LineBuffer(stream, max_line_bytes) for stream in set(_STREAMS.values())
        }
        self._header = b""
        self._left = 0  # of the frame's payload
        self._stream: Stream = "stdout"

    def feed(self, chunk: bytes) -> list[LogLine]:
        """The lines that `chunk` completes.

        Raises:
            LogFramingError: a frame's header is none.
        """
        if self._tty:
            return self._lines["stdout"].feed(chunk)
        found: list[LogLine] = []
        at = 0
        while at < len(chunk):
            if self._left == 0:
                missing = _HEADER.size - len(self._header)
                self._header += chunk[at : at + missing]
                at += missing
                if len(self._header) == _HEADER.size:
                    self._begin_frame()
                continue
            payload = chunk[at : at + self._left]
            at += len(payload)
            self._left -= len(payload)
            found += self._lines[self._stream].feed(payload)
        return found

    def end(self) -> list[LogLine]:
        """The lines that no line end has ended."""
        return [line for buffer in self._lines.values() for line in buffer.end()]

    def _begin_frame(self) -> None:
        kind, self._left = _HEADER.unpack(self._header)
        stream = _STREAMS.get(kind)
        if stream is None or self._header[1:4] != b"\0\0\0":
            raise LogFramingError(f"stream {kind} is unknown")
        self._header = b""
        self._stream = stream
        self._lines[stream].expect_instant()


class _LineBuffer:
    """One stream's bytes since the last line end, and no more of them than are kept."""

    def __init__(self, stream: Stream, max_bytes: int) -> None:
        self._stream = stream
        self._max_bytes = max_bytes
        self._kept = bytearray()
        self._began = False
        self._truncated = False
        self._at = ""
        self._head: bytearray | None = bytearray()  # until it is known whether an instant begins

    def expect_instant(self) -> None:
        """A message begins: the engine may have put its instant before it."""
        self._flush_head(final=True)
        self._head = bytearray()

    def feed(self, data: bytes) -> list[LogLine]:
        *ended, rest = data.split(b"\n")
        lines = []
        for piece in ended:
            self._took(piece)
            lines.append(self._emit())
        self._took(rest)
        return lines

    def end(self) -> list[LogLine]:
        self._flush_head(final=True)
        return [self._emit()] if self._began else []

    def _took(self, piece: bytes) -> None:
        if self._head is None:
            self._keep(piece)
            return
        self._head += piece
        self._flush_head(final=False)

    def _flush_head(self, *, final: bool) -> None:
        head = self._head
        if head is None:
            return
        found = _INSTANT.match(head)
        if found is None and not final and len(head) < _INSTANT_BYTES:
            return
        self._head = None
        if found is not None:
            self._at = self._at or found[1].decode()
            head = head[found.end() :]
            self._began = True
        self._keep(bytes(head))

    def _keep(self, piece: bytes) -> None:
        if piece:
            self._began = True
        room = self._max_bytes - len(self._kept)
        self._kept += piece[:room]
        self._truncated = self._truncated or len(piece) > room

    def _emit(self) -> LogLine:
        self._flush_head(final=True)
        text = bytes(self._kept).removesuffix(b"\r").decode("utf-8", "replace")
        line = LogLine(text=text, stream=self._stream, at=self._at, truncated=self._truncated)
        self._kept.clear()
        self._at, self._began, self._truncated = "", False, False
        self._head = bytearray()
        return line
