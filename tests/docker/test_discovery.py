"""A gateway on the host finds the stack's runner by asking the engine."""

from pathlib import Path

import aiohttp
import pytest

from tests.docker.stack import HELLO, Stack
from tests.journeys.process import gateway_process

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


async def test_a_gateway_on_the_host_needs_no_address_only_the_projects_name(
    stack: Stack, tmp_path: Path
) -> None:
    environ: dict[str, str] = {
        "RUNNER_BACKEND": "docker",
        "RUNNER_DOCKER_PROJECT": stack.environ["COMPOSE_PROJECT_NAME"],
        "RUNNER_SERVICE_TOKEN": stack.env_file()["RUNNER_SERVICE_TOKEN"],
        "RUNNER_BUNDLE_DIR": str(stack.folder / ".gateway" / "bundles"),
        **{
            name: stack.environ[name]
            for name in ("DOCKER_HOST", "DOCKER_CONFIG")
            if name in stack.environ
        },
    }
    async with (
        gateway_process(tmp_path, environ=environ, env_file={}) as gateway,
        aiohttp.ClientSession() as client,
    ):
        await gateway.event("backend_probed", readiness="ready")
        async with client.get(gateway.url + HELLO) as answer:
            assert answer.status == 200
            assert answer.headers["x-runner-backend"] == "docker"
        async with client.get(gateway.url + "/gateway/v1/backend") as answer:
            described = await answer.text()
    assert f":{stack.environ['STACK_RUNNER_PORT']}" in described
