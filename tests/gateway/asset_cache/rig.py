"""A cache in front of a real backend in front of the fake runner, and a clock to turn."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from backends.contract import AssetResponse, RunnerBackend
from gateway.asset_cache.cache import AssetCache
from tests.backends.calls import CONTENT_HASH, EXTENSION, TENANT, asset_request
from tests.clock import Clock
from tests.fakes.runner import FakeRunner

MIB = 1024 * 1024
SCRIPT = b"export const greeting = 'hello';\n" * 100


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with all of its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def whole(response: AssetResponse) -> Answer:
    """Take an answer in, as a client would."""
    body = response.body
    if not isinstance(body, bytes):
        parts = [part async for part in body]
        await body.aclose()
        body = b"".join(parts)
    headers = dict(response.headers)
    assert len(headers) == len(response.headers), "no field comes twice"
    return Answer(response.status, headers, body)


@dataclass
class Rig:
    """What a test of the cache holds."""

    runner: FakeRunner
    backend: RunnerBackend
    cache: AssetCache
    clock: Clock = field(default_factory=Clock)

    async def open(
        self,
        path: str = "app.js",
        *,
        tenant: str | None = TENANT,
        extension: str = EXTENSION,
        method: str = "GET",
        timeout_s: float = 5.0,
        query: str = "",
        **fields: str,
    ) -> AssetResponse:
        """Ask through the cache; `fields` are header fields, with "_" for "-"."""
        request = asset_request(
            path,
            method=method,
            tenant_id=tenant,
            extension_id=extension,
            timeout_s=timeout_s,
            query=query,
            headers=tuple((name.replace("_", "-"), value) for name, value in fields.items()),
        )
        return await self.cache.fetch(request, tenant, self.backend.fetch_asset)

    async def get(self, path: str = "app.js", **asked: str | float | None) -> Answer:
        """Ask, and take the answer in."""
        return await whole(await self.open(path, **asked))  # type: ignore[arg-type]

    def hit(self, path: str = "app.js", tenant: str = TENANT) -> bool:
        """Whether this would be answered at once."""
        return self.cache.hit(EXTENSION, CONTENT_HASH, path, tenant) is not None

    @property
    def asked(self) -> list[str]:
        """The methods and paths of what the runner was asked, oldest first."""
        return [f"{each.method} {each.target.rpartition('/')[2]}" for each in self.runner.assets]
