"""One way to open each transport, so that the same tests hold all of them to the port."""

from collections.abc import AsyncIterator, Callable

import pytest

from backends.upstream.address import RunnerAddress
from backends.upstream.session import SessionTransport
from backends.upstream.transport import Transport

OpenTransport = Callable[..., Transport]
KINDS: dict[str, Callable[..., Transport]] = {"session": SessionTransport}


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
