"""Why no connection came about, in words of a closed set and without a byte of the peer's text."""

import errno
import socket
import ssl
from typing import Final

UNREACHABLE_WORDS: Final = {
    errno.ECONNREFUSED: "connection_refused",
    errno.ECONNRESET: "connection_reset",
    errno.EPIPE: "connection_reset",
    errno.ENETUNREACH: "network_unreachable",
    errno.EHOSTUNREACH: "host_unreachable",
    errno.ETIMEDOUT: "connection_timed_out",
    errno.EMFILE: "out_of_sockets",
    errno.ENFILE: "out_of_sockets",
    errno.EADDRNOTAVAIL: "out_of_sockets",  # where there is a route
    errno.EAGAIN: "out_of_threads",  # to look the name up in
}


def unreachable_reason(failure: OSError) -> str:
    """One of the words above, "name_not_resolved", "tls_failed" or "connect_failed"."""
    if isinstance(failure, socket.gaierror):
        return "name_not_resolved"
    if isinstance(failure, ssl.SSLError):
        return "tls_failed"
    return UNREACHABLE_WORDS.get(failure.errno or 0, "connect_failed")
