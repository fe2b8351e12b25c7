"""What a Docker engine says, told as findings."""

from pathlib import Path

import pytest

from gateway.doctor.findings import Level
from tests.fakes.docker_engine import FakeEngine, container
from tests.gateway.doctor.rig import of, the_one, visit


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "docker.sock"


def docker(socket: Path, **more: str) -> dict[str, str]:
    return {"RUNNER_BACKEND": "docker", "DOCKER_HOST": f"unix://{socket}", **more}


async def test_the_engine_and_the_container_that_takes_calls_are_named(socket: Path) -> None:
    async with FakeEngine(socket) as engine:
        engine.add(container("runner-1", port=8085))
        findings = of(await visit(**docker(socket)), "docker")
    assert [finding.level for finding in findings] == [Level.OK, Level.OK]
    assert "DOCKER_HOST" in findings[0].what
    assert "http://127.0.0.1:8085" in findings[1].what


async def test_a_port_that_is_not_published_is_found_with_the_line_to_write(socket: Path) -> None:
    async with FakeEngine(socket) as engine:
        engine.add(container("runner-1"))
        found = the_one(await visit(**docker(socket)), "docker", "port_not_published")
    assert found.level is Level.FAILED
    assert "ports:" in found.fix


async def test_one_sick_container_among_others_is_a_warning(socket: Path) -> None:
    async with FakeEngine(socket) as engine:
        engine.add(container("runner-1", port=8085))
        engine.add(container("runner-2", port=8086, number=2, health="unhealthy"))
        found = the_one(await visit(**docker(socket)), "docker", "container_unhealthy")
    assert found.level is Level.WARNING


async def test_no_engine_is_found_and_a_fallback_softens_it(socket: Path) -> None:
    found = the_one(await visit(**docker(socket)), "docker", "no container")
    assert found.level is Level.FAILED
    softened = await visit(**docker(socket, RUNNER_BASE_URL="http://127.0.0.1:9"))
    assert the_one(softened, "docker", "no container").level is Level.WARNING


async def test_a_fallback_does_not_count_beside_a_container_that_takes_no_calls(
    socket: Path,
) -> None:
    async with FakeEngine(socket) as engine:
        engine.add(container("runner-1"))
        findings = await visit(**docker(socket, RUNNER_BASE_URL="http://127.0.0.1:9"))
    assert the_one(findings, "docker", "port_not_published").level is Level.FAILED


async def test_a_context_that_does_not_exist_is_found() -> None:
    findings = await visit(RUNNER_BACKEND="docker", DOCKER_CONTEXT="no-such-context")
    assert "docker context ls" in the_one(findings, "docker", "context_not_found").fix


async def test_another_backend_asks_no_engine() -> None:
    assert of(await visit(), "docker") == []
