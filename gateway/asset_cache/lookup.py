"""One request that a kept file could answer, on its way to the runner instead."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Self

from backends.contract import AssetRequest, AssetResponse, Pairs
from gateway.asset_cache.admission import Question
from gateway.asset_cache.grants import Caller

BackendFetch = Callable[[AssetRequest], Awaitable[AssetResponse]]
"""`RunnerBackend.fetch_asset` of the generation that the request has leased."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """A question, its caller, and how to ask the runner."""

    request: AssetRequest
    question: Question
    caller: Caller
    epoch: int  # of the cache, when it was asked
    ends: float  # loop time: the first byte must be here by then
    backend_fetch: BackendFetch

    @classmethod
    def begin(
        cls,
        request: AssetRequest,
        question: Question,
        tenant_key: str | None,
        epoch: int,
        backend_fetch: BackendFetch,
    ) -> Self:
        """Start its time."""
        return cls(
            request=request,
            question=question,
            caller=(request.extension_id, tenant_key),
            epoch=epoch,
            ends=asyncio.get_running_loop().time() + request.timeout_s,
            backend_fetch=backend_fetch,
        )

    @property
    def patience_s(self) -> float:
        """How long it may still wait for somebody else's answer.

        Half of its time, so that there is some left to ask for oneself.
        """
        return max(self._left_s() - self.request.timeout_s / 2, 0.0)

    async def ask(
        self, headers: Pairs | None = None, *, method: str | None = None
    ) -> AssetResponse:
        """Ask the runner in the time that is left; `headers` and `method` replace the caller's."""
        return await self.backend_fetch(
            replace(
                self.request,
                method=method or self.request.method,
                headers=self.request.headers if headers is None else headers,
                timeout_s=max(self._left_s(), 0.001),
            )
        )

    def _left_s(self) -> float:
        return self.ends - asyncio.get_running_loop().time()
