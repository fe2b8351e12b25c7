"""Spelling a request head: one string, encoded once, and nothing in it that HTTP cannot carry."""

import re
from typing import Final

from backends.errors import Phase, RunnerProtocolError
from backends.upstream.transport import UpstreamRequest

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_WITHOUT_CONTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})
_MAX_TOKENS: Final = 1024

_tokens: set[str] = set()
"""Methods and field names that were found to be sendable; bounded, for few are ever seen."""


class RequestWriter:
    """Writes heads of HTTP/1.1 requests to one authority."""

    def __init__(self, authority: str) -> None:
        self._host = f"Host: {authority}\r\n"

    def head(self, request: UpstreamRequest) -> bytes:
        """Request line and fields; Host and Content-Length are added, nothing else is.

        Raises:
            RunnerProtocolError: "unsendable_request": the target is not in origin-form
                (RFC 9112 section 3.2.1), or a field would end its line or set the framing.
        """
        method, target = request.method, request.target
        if not (
            target.startswith("/")
            and target.isascii()
            and target.isprintable()
            and " " not in target
            and "#" not in target
        ):
            raise RunnerProtocolError("unsendable_request", phase=Phase.ADMIT)
        host = self._host
        lines = [""]
        sendable = method in _tokens or _is_token(method)
        for name, value in request.headers:
            if name not in _tokens and not _is_token(name):
                sendable = False
            if len(name) == 4 and name.lower() == "host":
                host = f"Host: {value}\r\n"
            else:
                lines.append(f"{name}: {value}\r\n")
        if request.body is not None:
            lines.append(f"Content-Length: {len(request.body)}\r\n")
        elif method not in _WITHOUT_CONTENT:
            lines.append("Content-Length: 0\r\n")
        lines[0] = f"{method} {target} HTTP/1.1\r\n{host}"
        # One line break for each line, and one for the Host line that shares the first.
        text = "".join(lines)
        breaks = len(lines) + 1
        if not sendable or text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
            raise RunnerProtocolError("unsendable_request", phase=Phase.SEND)
        try:
            return f"{text}\r\n".encode()
        except UnicodeEncodeError:
            raise RunnerProtocolError("unsendable_request", phase=Phase.SEND) from None


def _is_token(word: str) -> bool:
    """Whether a method or field name is one; the framing is not for callers to set."""
    if not _TOKEN.fullmatch(word) or word.lower() in _FRAMING:
        return False
    if len(_tokens) < _MAX_TOKENS and len(word) <= 64:
        _tokens.add(word)
    return True
