"""The library's failures in the words that the gateway's own transport has for them."""

import ssl

from aiohttp import ClientConnectorDNSError, ClientConnectorError, ClientResponseError
from aiohttp.http_exceptions import LineTooLong

from backends.upstream import failures


def unreachable_reason(failure: ClientConnectorError) -> str:
    """Why no connection came about; see backends.upstream.failures."""
    if isinstance(failure, ClientConnectorDNSError):
        return "name_not_resolved"
    if isinstance(failure, ssl.SSLError | ssl.CertificateError):
        return "tls_failed"
    return failures.unreachable_reason(failure.os_error)


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
