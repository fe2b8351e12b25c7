"""Only requests that every reader understands alike get past this file.

A proxy and the server behind it that disagree on where a request ends or which resource it
names are a way around every check made in between. aiohttp passes on absolute-form targets,
fragments, `..`, `%2F`, HTTP/2.0 in a request line and a gzip-then-chunked body; all of that
is refused here, before any handler.
"""

import ipaddress
import re
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web

from middleware.connection_close import close_after_answer
from middleware.errors import InvalidPath, InvalidRequest
from middleware.guard import Guard

_PLAIN_TARGET: Final = re.compile(
    # Segments that are not dot segments, of pchar (RFC 3986 section 3.3) without "%",
    # but with the colon of a content hash as browsers encode it.
    r"/(?!/)(?:(?!\.{1,2}(?:[/?]|\Z))(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%3[Aa])*+/?)*+"
    r"(?:\?[!-\"$-~]*+)?"
)
_PRINTABLE: Final = re.compile(r"[!-~]+")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._~-]+|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{1,5}))?")
_VERSIONS: Final = frozenset({HttpVersion10, HttpVersion11})


def request_target() -> Guard:
    """Refuse ambiguous requests. Raises InvalidRequest or InvalidPath."""

    def check(request: web.Request) -> None:
        if request.method == hdrs.METH_CONNECT:
            close_after_answer(request)  # what follows was meant for a tunnel that is not there
        _check_framing(request)
        target = request.raw_path
        if not (target == "*" and request.method == hdrs.METH_OPTIONS):
            check_target(target)
            if "%" in target:
                _check_route(request, target)
        host = request.headers.get(hdrs.HOST)
        if host is not None:
            check_host(host)

    return check


def check_target(raw: str) -> None:
    """Accept a request target in origin-form (RFC 9112 section 3.2.1) with one reading.

    Args:
        raw: the target as it stood in the request line.

    Raises:
        InvalidRequest: not in origin-form, or not printable ASCII.
        InvalidPath: a dot segment, a slash, backslash or NUL in percent-encoding, a
            malformed percent-encoding, or one that is not UTF-8.

    >>> check_target("/api/ext/hello/ping?q=1")
    """
    if _PLAIN_TARGET.fullmatch(raw) is None:
        _check_target_in_full(raw)


def _check_target_in_full(raw: str) -> None:
    if not raw.startswith("/") or raw.startswith("//"):
        raise InvalidRequest("target_not_origin_form")
    if _PRINTABLE.fullmatch(raw) is None:
        raise InvalidRequest("target_not_printable_ascii")
    if "#" in raw:
        raise InvalidRequest("target_has_fragment")
    _check_path(raw.partition("?")[0])


def _check_route(request: web.Request, target: str) -> None:
    """Refuse a route that is not spelt as it is written in the table.

    The router takes `/%6detrics` for `/metrics`. A proxy's rule about `/metrics` does not, for
    most compare what the client wrote.
    """
    resource = request.match_info.route.resource
    if resource is not None and not target.startswith(resource.canonical.partition("{")[0]):
        raise InvalidPath("encoded_route")


def _check_path(path: str) -> None:
    if "\\" in path:
        raise InvalidPath("backslash")
    if _BAD_ESCAPE.search(path) is not None:
        raise InvalidPath("malformed_percent_encoding")
    for segment in path.split("/"):
        decoded = unquote_to_bytes(segment)
        if decoded in (b".", b".."):
            raise InvalidPath("dot_segment")
        if any(byte in decoded for byte in b"/\\\0"):
            raise InvalidPath("encoded_separator")
        try:
            decoded.decode()
        except UnicodeDecodeError:
            raise InvalidPath("percent_encoding_not_utf_8") from None


@lru_cache(maxsize=256)  # a gateway has few names; refusals are not remembered
def check_host(host: str) -> None:
    """Accept uri-host [":" port] (RFC 9110 section 7.2), with names as DNS has them.

    Raises:
        InvalidRequest: anything else, such as user information or a path.

    >>> check_host("[::1]:8787")
    """
    match = _HOST.fullmatch(host)
    if match is None or int(match[2] or 0) > 65535:
        raise InvalidRequest("invalid_host", field="host")
    if match[1] is not None:
        try:
            ipaddress.IPv6Address(match[1])
        except ValueError:
            raise InvalidRequest("invalid_host", field="host") from None


def _check_framing(request: web.Request) -> None:
    """Refuse, and read no further: nobody can tell where the next request begins."""
    if request._version not in _VERSIONS:
        close_after_answer(request)
        request._version = HttpVersion11  # the answer's; nobody has asked for `version` yet
        raise InvalidRequest("unsupported_http_version")
    codings = request.headers.getall(hdrs.TRANSFER_ENCODING, ())
    if codings and (
        [coding.lower() for coding in codings] != ["chunked"] or request.version == HttpVersion10
    ):
        close_after_answer(request)
        raise InvalidRequest("unsupported_transfer_encoding", field="transfer-encoding")
