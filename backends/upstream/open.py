"""Opens the transport of a backend: a pool of connections to one runner."""

import ssl

from backends.upstream.address import RunnerAddress
from backends.upstream.http1 import Http1Transport
from backends.upstream.transport import Transport


def open_transport(
    address: RunnerAddress,
    *,
    server_hostname: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> Transport:
    """A new pool for one runner; nothing is dialled yet. Needs a running event loop.

    Args:
        server_hostname: the name that TLS asks for, when it is not the address's own.
        tls: a context with other trust anchors than the system's.
    """
    return Http1Transport(address, server_hostname=server_hostname, tls=tls)
