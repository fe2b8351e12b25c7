"""A gateway on the host finds the stack's runner by asking the engine."""

import asyncio
import os
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.docker.stack import HELLO, ROOT, RUNNER, Stack
from tests.journeys.process import gateway_process

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

UNPUBLISHED = """\
services:
  extension-runner:
    ports: !reset []
"""
SICK_AT_WILL = """\
services:
  extension-runner:
    healthcheck: !override
      test: [CMD, python3, -c, "import os; raise SystemExit(os.path.exists('/tmp/sick'))"]
      interval: 1s
      retries: 1
"""


async def explained(project: Stack) -> tuple[int | None, str]:
    """What `python -m gateway explain` says of a project's runners."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "explain",
        cwd=project.folder / "docs",  # no .env there
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **project.gateway_environ()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, said.decode()


async def test_a_gateway_on_the_host_needs_no_address_only_the_projects_name(
    stack: Stack, tmp_path: Path
) -> None:
    async with (
        gateway_process(tmp_path, environ=stack.gateway_environ(), env_file={}) as gateway,
        aiohttp.ClientSession() as client,
    ):
        await gateway.event("backend_probed", readiness="ready")
        async with client.get(gateway.url + HELLO) as answer:
            assert answer.status == 200
            assert answer.headers["x-runner-backend"] == "docker"
        async with client.get(gateway.url + "/gateway/v1/backend") as answer:
            described = await answer.text()
    assert f":{stack.environ['STACK_RUNNER_PORT']}" in described


async def test_explain_names_the_container_that_is_taken_and_how_it_is_reached(
    stack: Stack,
) -> None:
    status, said = await explained(stack)
    assert status == 0, said
    assert f"http://127.0.0.1:{stack.environ['STACK_RUNNER_PORT']}" in said
    assert "taken: published_port" in said
    assert not any(key in said for key in stack.env_file().values() if len(key) == 64)


async def test_a_port_that_is_not_published_is_explained_with_the_line_that_publishes_it(
    stack: Stack, tmp_path: Path
) -> None:
    (tmp_path / "unpublished.yaml").write_text(UNPUBLISHED)
    with stack.runners(compose_files=[tmp_path / "unpublished.yaml"]) as project:
        await project.start_runners()
        status, said = await explained(project)
    assert status == 1
    assert "not taken: port_not_published" in said
    assert 'ports: ["127.0.0.1::8080"]' in said


async def test_a_runner_that_turns_unhealthy_gets_no_call_until_it_is_well(
    stack: Stack, tmp_path: Path
) -> None:
    (tmp_path / "sick.yaml").write_text(SICK_AT_WILL)
    # A call waits for a healthy container as long as its budget lets it.
    environ = {"EXT_GATEWAY_TIMEOUT_MS": "1000"}
    with stack.runners(compose_files=[tmp_path / "sick.yaml"]) as project:
        await project.start_runners()
        async with (
            gateway_process(
                tmp_path, environ=project.gateway_environ(**environ), env_file={}
            ) as gateway,
            aiohttp.ClientSession(gateway.url) as client,
        ):
            await gateway.event("backend_probed", readiness="ready")
            await project.compose("exec", RUNNER, "touch", "/tmp/sick")
            await gateway.event("runner_containers_changed", reason="container_unhealthy")
            async with client.get(HELLO) as answer:
                document = await answer.json(content_type=None)
                assert (answer.status, document["error"]) == (503, "runner_unreachable")
                assert "retry-after" in answer.headers
            assert "not taken: container_unhealthy" in (await explained(project))[1]

            await project.compose("exec", RUNNER, "rm", "/tmp/sick")
            assert await _answered_in_the_end(client)


async def _answered_in_the_end(client: aiohttp.ClientSession) -> bool:
    async with asyncio.timeout(60):
        while True:
            async with client.get(HELLO) as answer:
                if answer.status == 200:
                    return True
