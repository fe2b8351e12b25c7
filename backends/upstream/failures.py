"""What went wrong on the wire, in words of a closed set and without a byte of the peer's text."""

import errno
import ssl
from typing import Final

from aiohttp import ClientConnectorDNSError, ClientConnectorError, ClientResponseError
from aiohttp.http_exceptions import LineTooLong

UNREACHABLE_WORDS: Final = {
    errno.ECONNREFUSED: "connection_refused",
    errno.ECONNRESET: "connection_reset",
    errno.EPIPE: "connection_reset",
    errno.ENETUNREACH: "network_unreachable",
    errno.EHOSTUNREACH: "host_unreachable",
    errno.ETIMEDOUT: "connection_timed_out",
    errno.EMFILE: "out_of_sockets",
    errno.ENFILE: "out_of_sockets",
    errno.EADDRNOTAVAIL: "out_of_sockets",
}


def unreachable_reason(failure: ClientConnectorError) -> str:
    """Why no connection came about: one of the words above, "name_not_resolved",
    "tls_failed" or "connect_failed"."""
    if isinstance(failure, ClientConnectorDNSError):
        return "name_not_resolved"
    cause = failure.os_error
    if isinstance(failure, ssl.SSLError | ssl.CertificateError) or isinstance(cause, ssl.SSLError):
        return "tls_failed"
    return UNREACHABLE_WORDS.get(cause.errno or 0, "connect_failed")


def malformed_reason(failure: ClientResponseError) -> str:
    """What is wrong with the head of an answer: "upstream_header_too_large" or "malformed_answer".

    aiohttp keeps the kind of the fault only in the chain of causes.
    """
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, LineTooLong) or "too many headers" in str(cause).lower():
            return "upstream_header_too_large"
        cause = cause.__cause__
    return "malformed_answer"
