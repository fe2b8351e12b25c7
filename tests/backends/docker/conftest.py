"""An engine on a socket of its own, and backends that find their runner through it."""

from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from backends.docker import open_docker
from backends.docker_discovered import DiscoveredDockerBackend
from backends.settings import DockerSettings, EngineHints, Timeouts
from tests.backends.docker.waiting import OpenBackend
from tests.fakes.docker_engine import FakeEngine
from tests.fakes.runner import FakeRunner


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    # A socket's path may have 107 bytes, which a test's own folder often exceeds.
    with TemporaryDirectory(prefix="engine-") as folder:
        async with FakeEngine(Path(folder) / "docker.sock") as fake:
            yield fake


@pytest.fixture
async def runner() -> AsyncIterator[FakeRunner]:
    async with FakeRunner() as fake:
        yield fake


@pytest.fixture
async def open_backend(engine: FakeEngine) -> AsyncIterator[OpenBackend]:
    """Opens backends that look at `engine`; closes them all."""
    opened: list[DiscoveredDockerBackend] = []

    async def open_one(**more: Any) -> DiscoveredDockerBackend:
        settings = {
            "project": "dev",
            "engine": EngineHints(docker_host=engine.url),
            "timeouts": Timeouts(connect_s=1.0),
            **more,
        }
        backend = await open_docker(DockerSettings(**settings))
        assert isinstance(backend, DiscoveredDockerBackend)
        opened.append(backend)
        return backend

    yield open_one
    for backend in opened:
        await backend.aclose()
