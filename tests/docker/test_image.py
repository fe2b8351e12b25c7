"""The image by itself, on a real engine."""

import asyncio
import json
import re

import aiohttp
import pytest

from tests.docker.stack import Stack, free_port
from tests.rigs.docker.commands import EngineUnavailable, run
from tests.rigs.docker.engine import Engine

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

LARGEST_MB_ABOVE_BASE = 190  # a quarter of it is the Kubernetes client


def docker(engine: Engine, *arguments: str, timeout_s: float = 60.0) -> str:
    return run("docker", *arguments, environ=engine.environ, timeout_s=timeout_s).strip()


@pytest.fixture
def image(stack: Stack) -> str:
    return stack.environ["STACK_IMAGE"]


def test_it_runs_as_nobody_in_particular_and_without_a_shell_in_between(
    engine: Engine, image: str
) -> None:
    config = json.loads(docker(engine, "image", "inspect", image))[0]["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["python3", "-m", "gateway"]
    assert config["Healthcheck"]["Test"][0] == "CMD"


def test_it_holds_the_program_and_nothing_of_the_workshop(engine: Engine, image: str) -> None:
    inside = docker(
        engine, "run", "--rm", "--network=none", "--entrypoint=python3", image, "-c",
        "import importlib.util as u, json, os;"
        "print(json.dumps({'pip': u.find_spec('pip') is not None,"
        " 'tests': u.find_spec('tests') is not None, 'src': os.path.exists('/src'),"
        " 'uid': os.getuid()}))",
    )  # fmt: skip
    assert json.loads(inside) == {"pip": False, "tests": False, "src": False, "uid": 10001}


def test_it_is_not_much_larger_than_what_it_is_based_on(engine: Engine, image: str) -> None:
    base = engine.environ.get("BASE_IMAGE", "python:3.13-slim")
    sizes = [
        int(docker(engine, "image", "inspect", "--format", "{{.Size}}", name))
        for name in (image, base)
    ]
    assert (sizes[0] - sizes[1]) / 1e6 < LARGEST_MB_ABOVE_BASE


def test_beyond_loopback_it_refuses_to_trust_everybody(engine: Engine, image: str) -> None:
    with pytest.raises(EngineUnavailable, match="GATEWAY_AUTH"):
        docker(engine, "run", "--rm", "--env=GATEWAY_HOST=0.0.0.0", image)


async def test_on_a_read_only_root_it_serves_reports_healthy_and_stops_in_order(
    engine: Engine, image: str
) -> None:
    port = free_port()
    name = docker(
        engine, "run", "--detach", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL",
        "--security-opt=no-new-privileges", "--health-interval=1s",
        "--env=GATEWAY_HOST=0.0.0.0", "--env=GATEWAY_AUTH=proxy",
        "--env=GATEWAY_PROXY_KEY=only-for-this-one-test", f"--publish=127.0.0.1:{port}:8787",
        image,
    )  # fmt: skip
    try:
        assert await _first_health(engine, name) == "health_status: healthy"
        async with (
            aiohttp.ClientSession() as client,
            client.get(f"http://127.0.0.1:{port}/readyz") as answer,
        ):
            assert answer.status == 200
            assert (await answer.json())["backend"] == "embedded"
        docker(engine, "stop", "--time=20", name)
        state = json.loads(docker(engine, "inspect", name))[0]["State"]
        assert state["ExitCode"] == 0  # 137 would mean that the signal did not reach it
        said = run("docker", "logs", name, environ=engine.environ, timeout_s=10.0)
        assert re.search(r"Extension gateway on http", said)
    finally:
        docker(engine, "rm", "--force", "--volumes", name)


async def _first_health(engine: Engine, name: str) -> str:
    """What the engine first says of a container's health; from its past, if need be."""
    events = await asyncio.create_subprocess_exec(
        "docker", "events", "--since=0", f"--filter=container={name}",
        "--filter=event=health_status", "--format={{.Status}}",
        env=engine.environ, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert events.stdout is not None
    try:
        async with asyncio.timeout(60):
            return (await events.stdout.readline()).decode().strip()
    finally:
        events.kill()
        await events.wait()
