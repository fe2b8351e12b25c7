"""Is what a server answers right, byte for byte? What is wrong may be as fast as it likes."""

import http.client
from typing import Final

from benchmarks.servers import Server
from benchmarks.site import TENANT, Site
from benchmarks.workloads import Exchange
from middleware.caller import KEY_HEADER, TENANT_HEADER

_TIMEOUT_S: Final = 30.0


class WrongAnswer(Exception):
    """A server does not do the work that it would be measured by."""


def check(server: Server, exchange: Exchange) -> None:
    """Ask twice, so that a cached answer is looked at as well.

    Raises:
        WrongAnswer: status, entity tag or any byte of the body is not as expected.
        OSError, http.client.HTTPException: no answer came.
    """
    for _ in range(2):
        status, etag, body = _ask(server, exchange)
        if status != exchange.status:
            raise WrongAnswer(f"{server.name}: {exchange.target} was answered with {status}")
        if exchange.etag is not None and etag != exchange.etag:
            raise WrongAnswer(f"{server.name}: {exchange.target} has the entity tag {etag}")
        if body != exchange.answer:
            raise WrongAnswer(f"{server.name}: {exchange.target} has other bytes")


def open_page(server: Server, site: Site, gateway_key: str) -> None:
    """Ask the gateway for the page's address, as the application does before a browser comes.

    From here on the gateway knows which tenant's files are asked for.

    Raises:
        WrongAnswer: it would not say.
    """
    target = f"/gateway/v1/extensions/{site.install.extension_slug}/ui-url"
    headers = ((KEY_HEADER, gateway_key), (TENANT_HEADER, TENANT))
    status, _, _ = _ask(server, Exchange(target, headers, 200, b""))
    if status != 200:
        raise WrongAnswer(f"{server.name}: {target} was answered with {status}")


def _ask(server: Server, exchange: Exchange) -> tuple[int, str | None, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=_TIMEOUT_S)
    try:
        connection.request(
            exchange.method,
            exchange.target,
            body=exchange.body or None,
            headers=dict(exchange.headers),
        )
        answer = connection.getresponse()
        return answer.status, answer.getheader("etag"), answer.read()
    finally:
        connection.close()
