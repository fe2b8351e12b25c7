"""Spelling a request head, with nothing in it that HTTP cannot carry.

What many requests have alike, their request line and most of their fields, is judged and
spelled once and then remembered, within a bound.
"""

import re
from typing import Final, TypeVar

from backends.contract import Pairs
from backends.errors import Phase, RunnerProtocolError
from backends.memo import Memo
from backends.upstream.transport import UpstreamRequest

K = TypeVar("K")

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_WITHOUT_CONTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})
_PLAIN_NAMES: Final = frozenset({"x-request-id", "x-idempotency-key"})
_MAX_KNOWN: Final = 512
_MAX_KNOWN_BYTES: Final = 2048  # of one; a longer one is not worth remembering


class RequestWriter:
    """Writes heads of HTTP/1.1 requests to one authority."""

    def __init__(self, authority: str) -> None:
        self._host = ("Host", authority)
        self._lines: Memo[tuple[str, str], bytes] = Memo(_MAX_KNOWN)
        self._fields: Memo[Pairs, bytes] = Memo(_MAX_KNOWN)

    def head(self, request: UpstreamRequest) -> bytes:
        """Request line and fields; Host and Content-Length are added, nothing else is.

        Raises:
            RunnerProtocolError: "unsendable_request": the target is not in origin-form
                (RFC 9112 section 3.2.1), or a field would end its line or set the framing.
        """
        method, headers, body = request.method, request.headers, request.body
        line = self._lines.get((method, request.target))
        if line is None:
            line = self._remember(
                self._lines, (method, request.target), _line(method, request.target)
            )
        fields = self._fields.get(headers)
        if fields is None:
            fields = self._remember(self._fields, headers, self._spelled(headers))
        own = b""
        for name, value in request.own:
            if name in _PLAIN_NAMES and value.isascii() and value.isprintable():
                own += f"{name}: {value}\r\n".encode()
            else:
                own += _spelled(((name, value),))
        if body is not None:
            return b"%b%b%bContent-Length: %d\r\n\r\n" % (line, fields, own, len(body))
        if method in _WITHOUT_CONTENT:
            return b"%b%b%b\r\n" % (line, fields, own)
        return b"%b%b%bContent-Length: 0\r\n\r\n" % (line, fields, own)

    def _spelled(self, headers: Pairs) -> bytes:
        """The fields, Host first: the request's own, else this runner's."""
        host = self._host
        others = []
        for name, value in headers:
            if name.lower() == "host":
                host = ("Host", value)
            else:
                others.append((name, value))
        return _spelled((host, *others))

    @staticmethod
    def _remember(known: Memo[K, bytes], key: K, spelled: bytes) -> bytes:
        return known.keep(key, spelled) if len(spelled) <= _MAX_KNOWN_BYTES else spelled


def _line(method: str, target: str) -> bytes:
    if not (
        target.startswith("/")
        and target.isascii()
        and target.isprintable()
        and " " not in target
        and "#" not in target
    ):
        raise RunnerProtocolError("unsendable_request", phase=Phase.ADMIT)
    if not _TOKEN.fullmatch(method):
        raise RunnerProtocolError("unsendable_request", phase=Phase.SEND)
    return f"{method} {target} HTTP/1.1\r\n".encode()


def _spelled(fields: Pairs) -> bytes:
    """Field lines; refused when one would end its line early, or is not for callers to set."""
    text = "".join([f"{name}: {value}\r\n" for name, value in fields])
    whole_lines = text.count("\n") == text.count("\r") == len(fields) and "\0" not in text
    if not whole_lines or not all(map(_is_sendable, fields)):
        raise RunnerProtocolError("unsendable_request", phase=Phase.SEND)
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise RunnerProtocolError("unsendable_request", phase=Phase.SEND) from None


def _is_sendable(field: tuple[str, str]) -> bool:
    return _TOKEN.fullmatch(field[0]) is not None and field[0].lower() not in _FRAMING
