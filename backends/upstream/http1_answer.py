"""Reading the answers of one connection, one after another: llhttp, and what it leaves open.

No socket and no event loop: bytes in, an answer out. llhttp parses in its strict mode; on top
of that come the limits, the answers that never have a body, the end of a body that only the
end of the connection shows, and everything that came too much.
"""

import re
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from backends.contract import Pairs

MAX_HEADER_BYTES: Final = 16 * 1024  # of one field, and of the status line
MAX_HEADER_FIELDS: Final = 128
MAX_HEAD_BYTES: Final = 128 * 1024  # of the whole head, interim answers included

MALFORMED: Final = "malformed_answer"
TOO_LARGE: Final = "upstream_header_too_large"

_NO_BODY: Final = frozenset({204, 304})  # RFC 9112 section 6.3
_CODINGS: Final = frozenset({"", "chunked", "identity"})
_OF_THIS_HOP: Final = frozenset({"content-length", "transfer-encoding", "keep-alive"})
_KEEPALIVE_TIMEOUT = re.compile(r"timeout\s*=\s*([1-9]\d{0,5})\b", re.IGNORECASE)
_MAX_NAMES: Final = 1024

_names: dict[bytes, str] = {}


class AnswerFault(Exception):
    """What came is no answer. `reason` is one word, and no text of the peer's."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AnswerReader:
    """Call `expect`, then `feed` until `complete`; `take` has the content that came.

    Attributes:
        begun: some byte of the answer came; interim answers that are over do not count.
        head_complete: `status` and `headers` are those of the final answer.
        complete: its last byte came.
        keep_alive: the runner would take another request on this connection.
        excess: more came than one answer.
        idle_limit_s: how long the runner says that it keeps an idle connection; 0: no word.
    """

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self._parser_spent = False
        self.expect(head_only=False)

    def expect(self, *, head_only: bool) -> None:
        """Begin the next answer; `head_only` when it answers a HEAD."""
        if self._parser_spent:
            self._parser = HttpResponseParser(self)
            self._parser_spent = False
        self.begun = self.head_complete = self.complete = self.excess = self.keep_alive = False
        self.status = 0
        self.headers: Pairs = ()
        self.idle_limit_s = 0
        self._head_only = head_only
        self._interim = self._until_close = self._counting = False
        self._fields: list[tuple[str, str]] = []
        self._parts: list[bytes] = []
        self._left = -1  # bytes of a body of known length that are still to come
        self._head_bytes = self._reason_bytes = self._barren_bytes = 0
        self._fault = MALFORMED

    def feed(self, data: bytes) -> None:
        """Take in what came.

        Raises:
            AnswerFault: it cannot be part of an answer. The connection is of no use any more.
        """
        if self._counting:
            self._count(data)
            return
        if not self.head_complete:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            raise AnswerFault(self._fault) from None  # its message quotes the peer
        if self.complete:
            return
        if not self.head_complete:
            if self._head_bytes > MAX_HEAD_BYTES:
                raise AnswerFault(TOO_LARGE)
        elif self._left > 0:
            # The rest needs no parser, only counting: that saves copying every byte.
            self._left -= sum(map(len, self._parts))
            self._counting = self._parser_spent = True
        elif not self._parts:
            self._bound_framing(len(data))
        else:
            self._barren_bytes = 0

    def end(self) -> bool:
        """The connection ended in good order: was that the end of the answer too?"""
        if self.head_complete and self._until_close:
            self.complete = True
        return self.complete

    def take(self) -> bytes:
        """The content that came since it was last asked for."""
        parts = self._parts
        if len(parts) == 1:
            self._parts = []
            return parts[0]
        if not parts:
            return b""
        self._parts = []
        return b"".join(parts)

    def _count(self, data: bytes) -> None:
        left = self._left
        if len(data) > left:
            self.excess = True
            data = data[:left]
        self._parts.append(data)
        self._left = left - len(data)
        if not self._left:
            self.complete = True

    def _bound_framing(self, size: int) -> None:
        """Chunk extensions and trailers are no content, so nobody else bounds them."""
        self._barren_bytes += size
        if self._barren_bytes > MAX_HEAD_BYTES:
            raise AnswerFault(MALFORMED)

    # What llhttp calls. An exception in here ends its parsing.

    def on_message_begin(self) -> None:
        if self.complete:
            self.excess = True
        self.begun = True

    def on_status(self, reason: bytes) -> None:
        self._reason_bytes += len(reason)

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers come here too, when nobody looks at the fields any more.
        known = _names.get(name) or _remember(name)
        self._fields.append((known, value.rstrip(b" \t").decode("utf-8", "surrogateescape")))

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        status = self._parser.get_status_code()
        if len(self._fields) > MAX_HEADER_FIELDS or (
            self._head_bytes > MAX_HEADER_BYTES and self._is_too_large()
        ):
            self._refuse(TOO_LARGE)
        coding = self._read_framing()
        if status < 200:
            self._skip(status)
            return
        if coding not in _CODINGS:
            # RFC 9112 section 7: what cannot be taken off must not be passed on.
            self._refuse("unsupported_transfer_coding")
        self.status = status
        self.headers = tuple(self._fields)
        self.head_complete = True
        self.keep_alive = self._parser.should_keep_alive()
        if self._head_only or status in _NO_BODY:
            # llhttp cannot be told, and waits for the body that the fields speak of.
            self.complete = self._parser_spent = True
        else:
            self._until_close = self._left < 0 and coding != "chunked"

    def on_body(self, content: bytes) -> None:
        if not self.complete:
            self._parts.append(content)
        elif not self.excess:  # else it is the next answer's
            self._refuse(MALFORMED)  # an answer that ends with its head has no content

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = self.begun = False
        else:
            self.complete = True

    def _read_framing(self) -> str:
        """Note what the fields say of this connection; returns the transfer coding."""
        coding = ""
        for name, value in self._fields:
            if name in _OF_THIS_HOP:
                if name == "content-length":
                    self._left = int(value)
                elif name == "transfer-encoding":
                    coding = f"{coding},{value}" if coding else value
                elif announced := _KEEPALIVE_TIMEOUT.search(value):
                    self.idle_limit_s = int(announced[1])
        return coding.lower()

    def _skip(self, status: int) -> None:
        if status == 101:
            self._refuse("unexpected_status_101")  # nobody asked to switch protocols
        self._interim = True
        self._left = -1
        self._reason_bytes = 0
        self._fields = []

    def _is_too_large(self) -> bool:
        return self._reason_bytes > MAX_HEADER_BYTES or any(
            len(name) + len(value) > MAX_HEADER_BYTES for name, value in self._fields
        )

    def _refuse(self, reason: str) -> None:
        self._fault = reason
        raise AnswerFault(reason)


def _remember(name: bytes) -> str:
    """A field name in lower case. Few are ever seen, so they are worth keeping; within a bound."""
    known = name.decode("ascii").lower()  # llhttp lets nothing but tokens pass
    if len(_names) < _MAX_NAMES and len(name) <= 64:
        _names[name] = known
    return known
