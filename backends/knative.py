"""A runner behind an ingress that many services share: told apart by Host, guarded by a token."""

from collections.abc import Mapping

from backends.bearer_token import BearerToken
from backends.contract import (
    AssetRequest,
    AssetResponse,
    BackendHealth,
    BackendIdentity,
    BackendKind,
    BackendStats,
    ExecuteRequest,
    ExecuteResult,
    Pairs,
    RunnerBackend,
)
from backends.settings import KnativeSettings
from backends.ui_url import build_ui_url
from backends.upstream.address import RunnerAddress
from backends.upstream.runner_client import RunnerClient
from backends.upstream.session import SessionTransport


class KnativeBackend:
    """The runner protocol through an ingress."""

    def __init__(
        self, client: RunnerClient, settings: KnativeSettings, address: RunnerAddress
    ) -> None:
        self._client = client
        self._settings = settings
        self.identity = BackendIdentity(kind=BackendKind.KNATIVE, name=address.origin)

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
            self._settings.public_base, extension_id, content_hash, client_path, tenant_id=tenant_id
        )

    async def health(self) -> BackendHealth:
        return await self._client.health()

    async def metadata(self) -> Mapping[str, object]:
        return {
            "kind": self.identity.kind,
            "host": self._settings.host,
            "token": "file" if self._settings.token_file else "none",
            **self._client.facts(),
        }

    def stats(self) -> BackendStats:
        return self._client.stats()

    async def warm(self, content_hash: str, /) -> None:
        """Nothing: the runner protocol cannot warm a bundle without its tenant."""

    async def aclose(self) -> None:
        await self._client.aclose()


async def open_knative(settings: KnativeSettings) -> KnativeBackend:
    """A backend with an empty pool of its own; nothing is dialled yet.

    Raises:
        ValueError: the base URL is no base URL of a runner, or the host is no host.
    """
    address = RunnerAddress.parse(settings.base_url)
    # A Host goes through the same check as the base URL: it becomes a header field.
    host = settings.host
    virtual = RunnerAddress.parse(f"{address.scheme}://{host}") if host else None
    if virtual is not None and virtual.base_path:
        raise ValueError("the runner's host must be host[:port]")
    token = BearerToken(settings.token_file) if settings.token_file else None

    def credentials() -> Pairs:
        fields: Pairs = (("host", virtual.authority),) if virtual else ()
        if token:
            fields += (("authorization", f"Bearer {token.read()}"),)
        return fields

    client = RunnerClient(
        SessionTransport(address, server_hostname=virtual.hostname if virtual else None),
        address,
        public_base=settings.public_base,
        timeouts=settings.timeouts,
        credentials=credentials,
    )
    return KnativeBackend(client, settings, address)


_guard: type[RunnerBackend] = KnativeBackend
