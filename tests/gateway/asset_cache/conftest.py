"""The rig, for every test of this folder that asks."""

from collections.abc import AsyncIterator

import pytest

from backends.knative import open_knative
from backends.settings import KnativeSettings
from gateway.asset_cache.cache import AssetCache
from tests.clock import Clock
from tests.fakes.runner import FakeRunner, UiFile
from tests.gateway.asset_cache.rig import MIB, SCRIPT, Rig


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with FakeRunner() as runner:
        runner.files["app.js"] = UiFile(body=SCRIPT, content_type="text/javascript")
        backend = await open_knative(KnativeSettings(base_url=runner.url))
        clock = Clock()
        cache = AssetCache(max_bytes=128 * MIB, clock=clock)
        yield Rig(runner, backend, cache, clock)
        await cache.aclose()
        await backend.aclose()
