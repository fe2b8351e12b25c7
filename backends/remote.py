"""What backends that reach a runner over HTTP have in common: all but how it is found."""

from collections.abc import Mapping
from typing import Protocol

from backends.contract import (
    AssetRequest,
    AssetResponse,
    BackendHealth,
    BackendIdentity,
    BackendStats,
    ExecuteRequest,
    ExecuteResult,
    RunnerBackend,
)
from backends.knock import Knocks
from backends.prompt import Callback, Cancel, PromptBackend
from backends.ui_url import build_ui_url


class Reach(Protocol):
    """The way to a runner: a RunnerClient, or a KnativePath in front of one."""

    async def execute(self, request: ExecuteRequest) -> ExecuteResult: ...
    async def fetch_asset(self, request: AssetRequest) -> AssetResponse: ...
    def begin_execute(
        self, request: ExecuteRequest, done: Callback[ExecuteResult]
    ) -> Cancel | None: ...
    def begin_asset(
        self, request: AssetRequest, done: Callback[AssetResponse]
    ) -> Cancel | None: ...
    async def knock(self, service_token: str | None, *, timeout_s: float) -> None: ...
    async def health(self) -> BackendHealth: ...
    def stats(self) -> BackendStats: ...
    def facts(self) -> dict[str, object]: ...
    async def aclose(self) -> None: ...


class RemoteBackend:
    """A runner at one address.

    Args:
        reach: owned.
        public_base: where browsers find the runner's UI files.
        facts: what an operator wants to see besides what `reach` knows.
    """

    def __init__(
        self,
        reach: Reach,
        identity: BackendIdentity,
        *,
        public_base: str,
        facts: Mapping[str, object],
    ) -> None:
        self._reach = reach
        self._public_base = public_base
        self._facts = facts
        self.identity = identity

    async def execute(self, request: ExecuteRequest, /) -> ExecuteResult:
        return await self._reach.execute(request)

    async def fetch_asset(self, request: AssetRequest, /) -> AssetResponse:
        return await self._reach.fetch_asset(request)

    def begin_execute(
        self, request: ExecuteRequest, done: Callback[ExecuteResult], /
    ) -> Cancel | None:
        return self._reach.begin_execute(request, done)

    def begin_asset(self, request: AssetRequest, done: Callback[AssetResponse], /) -> Cancel | None:
        return self._reach.begin_asset(request, done)

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
        await self._reach.knock(service_token, timeout_s=timeout_s)

    async def health(self) -> BackendHealth:
        return await self._reach.health()

    async def metadata(self) -> Mapping[str, object]:
        return {"kind": self.identity.kind, **self._facts, **self._reach.facts()}

    def stats(self) -> BackendStats:
        return self._reach.stats()

    async def warm(self, content_hash: str, /) -> None:
        """Nothing: the runner protocol cannot warm a bundle without its tenant."""

    def page_fetched(self, page: AssetRequest, /) -> None:
        """Nothing: a runner that runs is warm enough."""

    async def aclose(self) -> None:
        await self._reach.aclose()


_guard: type[RunnerBackend] = RemoteBackend
_prompt_guard: type[PromptBackend] = RemoteBackend
_knock_guard: type[Knocks] = RemoteBackend
