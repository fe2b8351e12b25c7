"""The runner is found by its labels, and what was found is said."""

import hashlib
import json
from pathlib import Path

import pytest

from backends.contract import Readiness
from backends.docker import DockerBackend, open_docker
from backends.errors import RunnerNotConfigured, RunnerUnreachable
from backends.settings import DockerSettings, EngineHints
from tests.backends.calls import CONTENT_HASH, asset_request, execute_request
from tests.backends.docker.waiting import OpenBackend, noticed
from tests.fakes.docker_engine import FakeEngine, container
from tests.fakes.runner import FakeRunner


async def test_a_runner_is_found_by_its_labels_and_called_at_its_published_port(
    engine: FakeEngine, runner: FakeRunner, open_backend: OpenBackend
) -> None:
    engine.add(container("runner-1", port=runner.port))
    backend = await open_backend()
    assert (await backend.execute(execute_request())).status == 200
    assert (await backend.fetch_asset(asset_request())).status == 200
    assert (await backend.health()).readiness is Readiness.READY
    assert backend.identity.name == "dev/extension-runner"


async def test_an_operator_sees_what_was_chosen_and_neither_socket_nor_environment(
    engine: FakeEngine, runner: FakeRunner, open_backend: OpenBackend
) -> None:
    engine.add(container("runner-1", port=runner.port))
    engine.add(container("runner-2", number=2))
    backend = await open_backend()
    seen = await backend.metadata()
    shown = json.dumps(seen)
    assert "hush" not in shown
    assert str(engine.socket) not in shown
    first, second = json.loads(shown)["containers"]
    assert first["address"] == runner.url
    assert first["why"] == "published_port"
    assert (first["image"], first["digest"]) == ("example/runner:1", "sha256:" + "1f" * 32)
    assert len(first["id"]) == 12
    assert first["ports"] == [f"127.0.0.1:{runner.port}->8080/tcp"]
    assert (second["address"], second["why"]) == (None, "port_not_published")
    assert "127.0.0.1::8080" in second["advice"]
    assert json.loads(shown)["engine"]["found_by"] == "DOCKER_HOST"


UNUSABLE = {
    "not ready yet": (container("r", port=1, health="starting"), "container_starting"),
    "unhealthy": (container("r", port=1, health="unhealthy"), "container_unhealthy"),
    "paused": (container("r", port=1, status="paused"), "container_paused"),
    "stopped": (container("r", port=1, status="exited"), "container_not_running"),
    "unpublished": (container("r"), "port_not_published"),
    "one-off": (container("r", port=1, oneoff=True), "no_container"),
    "another project's": (container("r", port=1, project="other"), "no_container"),
    "another service's": (container("r", port=1, service="database"), "no_container"),
}


@pytest.mark.parametrize("case", UNUSABLE)
async def test_without_a_usable_container_the_backend_is_down_and_says_why(
    engine: FakeEngine, open_backend: OpenBackend, case: str
) -> None:
    document, why = UNUSABLE[case]
    engine.add(document)
    health = await (await open_backend()).health()
    assert (health.readiness, health.detail) == (Readiness.DOWN, why)


async def test_a_container_whose_runner_is_unwell_is_down(
    engine: FakeEngine, runner: FakeRunner, open_backend: OpenBackend
) -> None:
    engine.add(container("runner-1", port=runner.port))
    backend = await open_backend()
    await runner.stop()
    health = await backend.health()
    assert (health.readiness, health.detail) == (Readiness.DOWN, "connection_refused")


async def test_a_runner_that_never_was_there_is_refused_at_once(
    open_backend: OpenBackend,
) -> None:
    backend = await open_backend()
    with pytest.raises(RunnerUnreachable, match="no_container") as caught:
        await backend.execute(execute_request(timeout_s=1e6))
    assert caught.value.retry_after_s > 0


async def test_a_given_address_wins_and_no_engine_is_asked(
    engine: FakeEngine, runner: FakeRunner
) -> None:
    engine.add(container("runner-1", port=1))
    hints = EngineHints(docker_host=engine.url)
    backend = await open_docker(DockerSettings(host_url=runner.url, engine=hints))
    assert isinstance(backend, DockerBackend)
    assert (await backend.execute(execute_request())).status == 200
    assert engine.asked == []
    await backend.aclose()


async def test_the_fallback_address_counts_while_there_is_no_container_of_the_service(
    engine: FakeEngine, runner: FakeRunner
) -> None:
    settings = DockerSettings(fallback_url=runner.url, engine=EngineHints(docker_host=engine.url))
    backend = await open_docker(settings)
    assert (await backend.metadata())["why"] == "fallback"
    await backend.aclose()
    engine.add(container("runner-1", status="exited"))
    found = await open_docker(settings)
    assert "why" not in await found.metadata()
    await found.aclose()


async def test_without_an_engine_the_backend_opens_and_says_what_is_missing(
    tmp_path: Path,
) -> None:
    hints = EngineHints(docker_host=f"unix://{tmp_path / 'none.sock'}")
    backend = await open_docker(DockerSettings(engine=hints))
    health = await backend.health()
    await backend.aclose()
    assert (health.readiness, health.detail) == (Readiness.DOWN, "engine_unreachable")


async def test_without_a_word_about_an_engine_calls_are_told_to_configure_one(
    engine: FakeEngine, runner: FakeRunner, open_backend: OpenBackend, tmp_path: Path
) -> None:
    hints = EngineHints(docker_context="work", config_dir=tmp_path)
    backend = await open_backend(engine=hints)
    assert (await backend.health()).detail == "context_not_found"
    with pytest.raises(RunnerNotConfigured, match="context_not_found") as caught:
        await backend.execute(execute_request())
    assert "RUNNER_DOCKER_HOST" in caught.value.advice
    engine.add(container("runner-1", port=runner.port))
    context = tmp_path / "contexts" / "meta" / hashlib.sha256(b"work").hexdigest()
    context.mkdir(parents=True)
    (context / "meta.json").write_text(json.dumps({"Endpoints": {"docker": {"Host": engine.url}}}))
    await noticed(backend, lambda now: bool(now.taken))
    assert (await backend.execute(execute_request())).status == 200
    engine.remove("runner-1")
    await noticed(backend, lambda now: not now.candidates)
    (context / "meta.json").unlink()
    await engine.stop()  # it was there: that it is away is nothing to configure
    await noticed(backend, lambda now: now.fault == "context_not_found")
    with pytest.raises(RunnerUnreachable, match="context_not_found"):
        await backend.execute(execute_request(timeout_s=0.05))


async def test_two_projects_with_such_a_service_are_not_mixed(
    engine: FakeEngine, runner: FakeRunner, open_backend: OpenBackend
) -> None:
    engine.add(container("a-runner-1", port=runner.port, project="a"))
    engine.add(container("b-runner-1", port=runner.port, project="b"))
    backend = await open_backend(project=None)
    assert (await backend.health()).detail == "several_projects"
    named = await open_backend(project="b")
    assert (await named.health()).readiness is Readiness.READY


async def test_inside_a_compose_project_its_own_runner_is_meant(
    engine: FakeEngine, open_backend: OpenBackend
) -> None:
    engine.add(container("a-gateway-1", project="a", service="gateway"))
    engine.add(container("a-runner-1", project="a"))
    engine.add(container("b-runner-1", project="b", port=1))
    hints = EngineHints(docker_host=engine.url, own_container="a-gateway-1")
    backend = await open_backend(project=None, engine=hints)
    (only,) = backend.snapshot.candidates
    assert (only.url, only.why) == ("http://172.18.0.2:8080", "network_a_default")


async def test_pages_may_come_straight_from_the_published_port(
    engine: FakeEngine, open_backend: OpenBackend
) -> None:
    backend = await open_backend(public_url="http://localhost:8085")
    url = backend.resolve_ui_url("ext-1", CONTENT_HASH)
    assert url.startswith("http://localhost:8085/ext-ui/ext-1/")
