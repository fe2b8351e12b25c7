"""A runner in a container: at the address that was given, or found by its compose labels."""

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
from backends.docker_discovered import DiscoveredDockerBackend
from backends.knock import Knocks
from backends.prompt import PromptBackend, Told, Withdraw
from backends.settings import DockerSettings
from backends.ui_url import build_ui_url
from backends.upstream.address import RunnerAddress
from backends.upstream.open import open_transport
from backends.upstream.runner_client import RunnerClient


class DockerBackend:
    """The runner protocol over plain HTTP, with no credentials of its own."""

    def __init__(
        self, client: RunnerClient, settings: DockerSettings, address: RunnerAddress, *, why: str
    ) -> None:
        self._client = client
        self._why = why
        self._public_base = settings.public_url or settings.public_base
        self.identity = BackendIdentity(kind=BackendKind.DOCKER, name=address.origin)

    async def execute(self, request: ExecuteRequest, /) -> ExecuteResult:
        return await self._client.execute(request)

    async def fetch_asset(self, request: AssetRequest, /) -> AssetResponse:
        return await self._client.fetch_asset(request)

    def begin_execute(
        self, request: ExecuteRequest, told: Told[ExecuteResult], /
    ) -> Withdraw | None:
        return self._client.begin_execute(request, told)

    def begin_asset(self, request: AssetRequest, told: Told[AssetResponse], /) -> Withdraw | None:
        return self._client.begin_asset(request, told)

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

    async def knock(self, service_token: str | None, /, *, timeout_s: float) -> None:
        await self._client.knock(service_token, timeout_s=timeout_s)

    async def health(self) -> BackendHealth:
        return await self._client.health()

    async def metadata(self) -> Mapping[str, object]:
        return {"kind": self.identity.kind, "why": self._why, **self._client.facts()}

    def stats(self) -> BackendStats:
        return self._client.stats()

    async def warm(self, content_hash: str, /) -> None:
        """Nothing: the runner protocol cannot warm a bundle without its tenant."""

    def page_fetched(self, page: AssetRequest, /) -> None:
        """Nothing: a runner that runs is warm enough."""

    async def aclose(self) -> None:
        await self._client.aclose()


async def open_docker(settings: DockerSettings) -> DockerBackend | DiscoveredDockerBackend:
    """A backend at the given address, else at the containers that are found.

    With a fallback address and no container of the service in sight, that address it is, for
    as long as this backend lives.

    Raises:
        ValueError: the URL is no base URL of a runner.
    """

    def open_client(address: RunnerAddress) -> RunnerClient:
        return RunnerClient(
            open_transport(address),
            address,
            public_base=settings.public_base,
            timeouts=settings.timeouts,
        )

    if settings.host_url is not None:
        given = RunnerAddress.parse(settings.host_url)
        return DockerBackend(open_client(given), settings, given, why="given")
    fallback = None if settings.fallback_url is None else RunnerAddress.parse(settings.fallback_url)
    discovered = DiscoveredDockerBackend(settings, open_client)
    await discovered.start()
    if fallback is None or not discovered.snapshot.is_empty:
        return discovered
    await discovered.aclose()
    return DockerBackend(open_client(fallback), settings, fallback, why="fallback")


_guard: type[RunnerBackend] = DockerBackend
_prompt_guard: type[PromptBackend] = DockerBackend
_knock_guard: type[Knocks] = DockerBackend
