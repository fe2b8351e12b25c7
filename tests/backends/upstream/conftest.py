"""One way to open each transport, so that the same tests hold all of them to the port."""

from collections.abc import AsyncIterator, Callable

import pytest

from backends.upstream.address import RunnerAddress
from backends.upstream.http1 import Http1Transport
from backends.upstream.transport import Transport
from tests.reference_transport.session import SessionTransport

OpenTransport = Callable[..., Transport]
OpenHttp1 = Callable[..., Http1Transport]
KINDS: dict[str, Callable[..., Transport]] = {
    "http1": Http1Transport,
    "session": SessionTransport,
}


@pytest.fixture(params=KINDS)
async def open_transport(request: pytest.FixtureRequest) -> AsyncIterator[OpenTransport]:
    """Opens transports by URL, with the arguments that every kind knows; closes them all."""
    opened: list[Transport] = []

    def open_one(url: str, **options: object) -> Transport:
        opened.append(KINDS[request.param](RunnerAddress.parse(url), **options))
        return opened[-1]

    yield open_one
    for transport in opened:
        await transport.aclose()


@pytest.fixture
async def open_http1() -> AsyncIterator[OpenHttp1]:
    """Opens transports of the one kind that has more to promise than the port says."""
    opened: list[Http1Transport] = []

    def open_one(url: str, *, max_connections: int = 8) -> Http1Transport:
        address = RunnerAddress.parse(url)
        opened.append(Http1Transport(address, max_connections=max_connections))
        return opened[-1]

    yield open_one
    for transport in opened:
        await transport.aclose()
