"""A runner in a container, reached by the port it publishes."""

from collections.abc import Mapping

from backends.contract import (
    AssetRequest,
    AssetResponse,
    BackendHealth,
    BackendIdentity,
    BackendKind,
    BackendStats,
    ExecuteRequest,
    ExecuteResult,
    RunnerBackend,
)
from backends.settings import DockerSettings
from backends.ui_url import build_ui_url
from backends.upstream.address import RunnerAddress
from backends.upstream.runner_client import RunnerClient
from backends.upstream.session import SessionTransport


class DockerBackend:
    """The runner protocol over plain HTTP, with no credentials of its own."""

    def __init__(
        self, client: RunnerClient, settings: DockerSettings, address: RunnerAddress
    ) -> None:
        self._client = client
        self._public_base = settings.public_base
        self.identity = BackendIdentity(kind=BackendKind.DOCKER, name=address.origin)

    async def execute(self, request: ExecuteRequest, /) -> ExecuteResult:
        return await self._client.execute(request)

    async def fetch_asset(self, request: AssetRequest, /) -> AssetResponse:
        return await self._client.fetch_asset(request)

    def resolve_ui_url(
        self,
        extension_id: str,
        content_hash: str,
        client_path: str = "/",
        *,
        tenant_id: str | None = None,
    ) -> str:
        return build_ui_url(
            self._public_base, extension_id, content_hash, client_path, tenant_id=tenant_id
        )

    async def health(self) -> BackendHealth:
        return await self._client.health()

    async def metadata(self) -> Mapping[str, object]:
        return {"kind": self.identity.kind, **self._client.facts()}

    def stats(self) -> BackendStats:
        return self._client.stats()

    async def warm(self, content_hash: str, /) -> None:
        """Nothing: the runner protocol cannot warm a bundle without its tenant."""

    async def aclose(self) -> None:
        await self._client.aclose()


async def open_docker(settings: DockerSettings) -> DockerBackend:
    """A backend with an empty pool of its own; nothing is dialled yet.

    Raises:
        ValueError: the URL is no base URL of a runner.
    """
    address = RunnerAddress.parse(settings.host_url)
    client = RunnerClient(
        SessionTransport(address),
        address,
        public_base=settings.public_base,
        timeouts=settings.timeouts,
    )
    return DockerBackend(client, settings, address)


_guard: type[RunnerBackend] = DockerBackend
