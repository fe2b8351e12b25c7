"""Serves each backend that is to be compared behind a gateway of its own, on loopback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from backends.contract import BackendKind, Readiness
from backends.errors import BackendError
from backends.settings import BackendSettings
from gateway.app import create_app
from gateway.keys import LIVE
from gateway.server import GatewayRunner
from gateway.settings import Settings, on_loopback
from gateway.variables.backends import docker_settings, knative_settings

OPEN_S: Final = 30.0
HEALTH_S: Final = 10.0


class LeftOut(Exception):
    """This backend cannot be compared; the reason is one machine word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def described(settings: Settings) -> dict[BackendKind, BackendSettings | None]:
    """What these settings say of each kind, whichever of them is chosen; None: nothing."""
    values = settings.variables
    return {
        BackendKind.EMBEDDED: settings.embedded,
        BackendKind.DOCKER: docker_settings(values),
        BackendKind.KNATIVE: knative_settings(values) if values.runner_base_url else None,
    }


@asynccontextmanager
async def serving(
    settings: Settings, backend: BackendSettings | None, *, tenant: str
) -> AsyncIterator[str]:
    """A gateway with this backend, and everything else as it is set; its origin.

    Backends do not decide who calls, so every caller counts as `tenant`. UI files are not cached:
    one backend's would be given as another's.

    Raises:
        LeftOut: the backend does not work.
    """
    if backend is None:
        raise LeftOut("not_configured")
    own = on_loopback(settings, backend, tenant=tenant)
    app = create_app(own, load=lambda: own, access_sink=lambda _: None)
    server = GatewayRunner(app, own.listen, shutdown_s=0)
    try:
        await _opened(server, app)
        site = web.TCPSite(server, own.listen.host, own.listen.port)
        await site.start()
        yield f"http://{own.listen.host}:{server.addresses[0][1]}"
    finally:
        await server.cleanup()


async def _opened(server: GatewayRunner, app: web.Application) -> None:
    try:
        async with asyncio.timeout(OPEN_S):
            await server.setup()
        async with asyncio.timeout(HEALTH_S):
            health = await app[LIVE].slot.current.backend.health()
    except TimeoutError:
        raise LeftOut("not_ready_in_time") from None
    except BackendError as failure:
        raise LeftOut(failure.reason) from None
    except (OSError, ValueError):
        raise LeftOut("not_opened") from None
    if health.readiness is not Readiness.READY:
        raise LeftOut(health.detail or "not_ready")
