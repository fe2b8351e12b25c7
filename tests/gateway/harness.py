"""A gateway on a real port, in front of whatever a test puts behind it."""

import asyncio
import select
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from tempfile import NamedTemporaryFile
from typing import Any

from aiohttp import ClientSession, web

from backends.bundles.manifest import Endpoint
from gateway.app import create_app
from gateway.backend_opening import backend_of
from gateway.generations.live import Live
from gateway.generations.swap import Openers
from gateway.installs.contract import ExtensionNotInstalled, Install, Installs
from gateway.keys import LIVE
from gateway.server import GatewayRunner
from gateway.settings import Settings, load
from gateway.sockets.site import GatewaySite
from gateway.sockets.tls import certificate_of
from tests.fakes.runner import FakeRunner

HASH = "sha256:" + "ab" * 32
_SOON_S = 20.0
ENDPOINTS = (
    Endpoint(method="GET", path="/hello", handler="h"),
    Endpoint(method="POST", path="/echo", handler="h"),
    Endpoint(method="GET", path="/items/:id", handler="h"),
    Endpoint(method="DELETE", path="/items/:id", handler="h"),
)
INSTALL = Install(
    tenant_id="dev",
    extension_slug="acme.crm",
    install_id="install-1",
    registry_id="registry-1",
    version_id="version-1",
    version="1.0.0",
    content_hash=HASH,
    config={"plan": "gold"},
    config_version="c1",
    secrets_version="s1",
    providers=("cap:log.emit",),
    endpoints=ENDPOINTS,
)


@dataclass
class KnownInstalls:
    """The installs that a test names, for every tenant alike."""

    installs: Mapping[str, Install] = field(default_factory=lambda: {"acme.crm": INSTALL})
    closed: bool = False

    async def resolve(self, tenant_id: str, extension: str, /) -> Install:
        return self.known(tenant_id, extension)

    def known(self, tenant_id: str, extension: str, /) -> Install:
        try:
            return replace(self.installs[extension], tenant_id=tenant_id)
        except KeyError:
            raise ExtensionNotInstalled from None

    async def all(self, tenant_id: str | None, /) -> tuple[Install, ...]:
        return tuple(self.installs.values())

    async def aclose(self) -> None:
        self.closed = True


_guard: type[Installs] = KnownInstalls


@dataclass
class Gateway:
    """What a test holds of a running gateway."""

    url: str
    app: web.Application
    client: ClientSession
    environ: dict[str, str]  # edit it, then reload
    server: GatewayRunner

    @property
    def live(self) -> Live:
        return self.app[LIVE]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def problem(self, method: str, path: str, **kwargs: Any) -> tuple[int, dict[str, Any]]:
        """The status and the problem document of an answer that must be one."""
        async with self.client.request(method, self.url + path, **kwargs) as answer:
            assert answer.content_type == "application/problem+json", await answer.text()
            document: dict[str, Any] = await answer.json(content_type=None)
            assert document["status"] == answer.status
            assert document["requestId"] == answer.headers["x-request-id"]
            assert document["backend"] == answer.headers["x-runner-backend"]
            assert answer.headers["cache-control"] == "no-store"
            return answer.status, document


@asynccontextmanager
async def running(
    environ: Mapping[str, str], installs: Installs | None = None
) -> AsyncIterator[Gateway]:
    """Start a gateway with these variables and nothing of the process environment."""
    known = KnownInstalls() if installs is None else installs
    with NamedTemporaryFile(suffix=".env") as empty:  # else a developer's own .env counts
        told = {"GATEWAY_ENV_FILE": empty.name, **environ}
        async with _started(told, known) as gateway:
            yield gateway


@asynccontextmanager
async def _started(told: dict[str, str], known: Installs) -> AsyncIterator[Gateway]:

    def load_told() -> Settings:
        return load(told)

    settings = load_told()
    app = create_app(
        settings,
        load=load_told,
        openers=Openers(backend=backend_of, installs=lambda _: known),
    )
    server = GatewayRunner(app, settings.listen, shutdown_s=1.0)
    await server.setup()
    try:
        certificate = certificate_of(settings.listen)
        site = GatewaySite(
            server,
            socket.create_server(("127.0.0.1", 0)),
            ssl_context=None if certificate is None else certificate.context,
        )
        await site.start()
        url = f"http{'' if certificate is None else 's'}://127.0.0.1:{server.addresses[0][1]}"
        async with ClientSession(auto_decompress=False) as client:
            yield Gateway(url, app, client, told, server)
    finally:
        await server.cleanup()


def in_front_of(runner: FakeRunner, **more: str) -> dict[str, str]:
    """The variables of a gateway whose runner is `runner`."""
    return {
        "RUNNER_BACKEND": "docker",
        "RUNNER_DOCKER_HOST": runner.url,
        "RUNNER_SERVICE_TOKEN": "a-service-token-for-tests",
        **more,
    }


async def given_up(client: socket.socket) -> None:
    """Wait until the other end has given the connection up, without reading from it."""
    poll = select.poll()
    poll.register(client, 0)  # errors are told all the same
    async with asyncio.timeout(_SOON_S):
        while not poll.poll(0):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
