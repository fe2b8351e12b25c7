"""Names what a client spoke instead of HTTP/1.1, where the parser tells it by its bytes."""

from types import MappingProxyType
from typing import Final

from middleware.errors import InvalidRequest

_SIGNS: Final = MappingProxyType({
    "Received HTTPS traffic": "tls_at_plain_port",
    "Pause on PRI": "http2_not_spoken",  # RFC 9113 section 3.4
    "b'PROXY ": "proxy_protocol_not_spoken",  # HAProxy's, version 1
    r"b'\x00'": "proxy_protocol_not_spoken",  # version 2, behind blank lines
})  # fmt: skip


def other_protocol(refusal: str) -> InvalidRequest | None:
    r"""A reason that says more than "not well formed"; None: there is none.

    Args:
        refusal: the parser's message, which quotes the line that it could not read.

    >>> other_protocol("Invalid method encountered:\n\n  b'PROXY TCP4 192.0.2.1'\n       ^")
    InvalidRequest('proxy_protocol_not_spoken')
    """
    return next(
        (InvalidRequest(reason) for sign, reason in _SIGNS.items() if sign in refusal), None
    )
