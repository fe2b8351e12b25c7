"""The suite that every backend passes, against a real runner in a real container."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backends.contract import BackendKind
from backends.docker import open_docker
from backends.docker_discovered import DiscoveredDockerBackend
from backends.settings import DockerSettings, EngineHints
from gateway.installs.changes import list_installs
from tests.backends.test_contract import *  # noqa: F403 - collected here for this subject
from tests.backends.test_contract import Subject
from tests.docker.stack import Stack

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]


@pytest.fixture
async def subject(stack: Stack) -> AsyncIterator[Subject]:
    config = stack.environ.get("DOCKER_CONFIG")
    hints = EngineHints(
        docker_host=stack.environ.get("DOCKER_HOST"),
        config_dir=None if config is None else Path(config),
    )
    project = stack.environ["COMPOSE_PROJECT_NAME"]
    backend = await open_docker(DockerSettings(project=project, engine=hints))
    assert isinstance(backend, DiscoveredDockerBackend)
    (hello,) = (
        install.content_hash
        for install in list_installs(stack.folder / ".gateway" / "bundles")
        if install.extension_slug == "example.hello"
    )
    token = stack.env_file()["RUNNER_SERVICE_TOKEN"]
    yield Subject(BackendKind.DOCKER, backend, hello, token)
    await backend.aclose()
