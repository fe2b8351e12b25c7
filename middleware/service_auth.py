"""The token by which a runner knows the gateway, asked for anew with every request."""

from aiohttp import web

from middleware.guard import Guard
from middleware.source import Source

SERVICE_TOKEN: web.RequestKey[str | None] = web.RequestKey("service_token")
"""What to send as x-runner-service-token with this request; None: nothing."""


def service_auth(token: Source[str | None]) -> Guard:
    """Set SERVICE_TOKEN on every request."""

    def inject(request: web.Request) -> None:
        request[SERVICE_TOKEN] = token()

    return inject
