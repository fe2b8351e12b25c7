"""Things are replaced under load, and no call fails for it."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import jwt
import pytest

from backends.contract import ExecuteResult, RunnerBackend
from backends.errors import (
    BackendError,
    RunnerProtocolError,
    RunnerUnreachable,
)
from backends.knative import open_knative
from tests.backends.calls import execute_request
from tests.fakes.runner import FakeRunner, echo
from tests.gateway.harness import running
from tests.knative.conftest import by_service, until
from tests.knative.test_metrics import behind_the_rig
from tests.rigs.knative.pods import fake_pod, real_runner
from tests.rigs.knative.rig import KnativeRig

pytestmark = pytest.mark.knative

CALLERS = 8


def project(path: Path, token: str) -> None:
    """Replace the token as the kubelet does: behind a link, in one step."""
    behind = path.with_name(f"..{uuid.uuid4().hex}")
    behind.write_text(token)
    link = path.with_name("..next")
    link.symlink_to(behind)
    link.replace(path)


class Load:
    """Callers that call again as soon as they were answered; a failure ends it, unless kept."""

    def __init__(self, backend: RunnerBackend, failed: list[BackendError] | None = None) -> None:
        self.results: list[ExecuteResult] = []
        self._backend = backend
        self._failed = failed
        self._going = True
        self._more = asyncio.Condition()

    async def some_more(self) -> None:
        """Wait until twice as many as there are callers were answered from now on."""
        async with asyncio.timeout(20), self._more:
            wanted = len(self.results) + 2 * CALLERS
            await self._more.wait_for(lambda: len(self.results) >= wanted)

    async def _call(self) -> None:
        while self._going:
            try:
                result = await self._backend.execute(execute_request())
            except BackendError as failure:
                if self._failed is None:
                    raise
                self._failed.append(failure)
                continue
            async with self._more:
                self.results.append(result)
                self._more.notify_all()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(self._call())
            await self.some_more()
            yield self
            await self.some_more()
            self._going = False


async def test_a_revision_is_rolled_over_without_a_failed_call(
    runner: FakeRunner, tmp_path: Path
) -> None:
    async with KnativeRig(fake_pod(runner)) as rig:
        backend = await open_knative(by_service(rig, tmp_path))
        async with Load(backend).running() as load:
            for _ in range(3):
                await rig.roll_over()
                await load.some_more()
        shown = await backend.metadata()
        await backend.aclose()
    assert {result.status for result in load.results} == {200}
    assert len(runner.executed) == len(load.results)
    serving = shown["serving"]
    assert isinstance(serving, dict)
    assert serving["latest_ready_revision"] == "runner-00004"


async def test_an_ingress_that_starts_again_is_waited_for(
    runner: FakeRunner, tmp_path: Path
) -> None:
    async with KnativeRig(fake_pod(runner)) as rig:
        assert rig.envoy is not None
        backend = await open_knative(by_service(rig, tmp_path))
        assert (await backend.execute(execute_request())).status == 200
        await rig.envoy.stop()
        calls = [asyncio.create_task(backend.execute(execute_request())) for _ in range(10)]
        await until(lambda: backend.stats().retries > 0)
        await rig.envoy.start()
        results = await asyncio.gather(*calls)
        await backend.aclose()
    assert [result.status for result in results] == [200] * 10
    assert len(runner.executed) == 11


async def test_an_ingress_that_starts_again_under_load_loses_only_what_it_carried(
    runner: FakeRunner, tmp_path: Path
) -> None:
    async with KnativeRig(fake_pod(runner)) as rig:
        assert rig.envoy is not None
        backend = await open_knative(by_service(rig, tmp_path))
        failed: list[BackendError] = []
        async with Load(backend, failed).running() as load:
            await rig.envoy.stop()
            await until(lambda: backend.stats().retries > 0)
            await rig.envoy.start()
            await load.some_more()
        await backend.aclose()
    assert {result.status for result in load.results} == {200}
    # A call that Envoy held when it was killed may have run: that one is told, never repeated.
    assert len(failed) <= CALLERS
    assert all(isinstance(each, RunnerProtocolError) for each in failed)


async def test_a_token_is_rotated_under_load_without_a_failed_call(
    runner: FakeRunner, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    project(path, "one")
    async with KnativeRig(fake_pod(runner)) as rig:
        rig.queue_proxy.tokens = {"Bearer one"}
        backend = await open_knative(by_service(rig, tmp_path, token_file=path))
        async with Load(backend).running() as load:
            for old, new in (("one", "two"), ("two", "three")):
                rig.queue_proxy.tokens = {f"Bearer {old}", f"Bearer {new}"}
                project(path, new)
                await load.some_more()
                rig.queue_proxy.tokens = {f"Bearer {new}"}
                await load.some_more()
        assert rig.queue_proxy.refused == 0
        await backend.aclose()
    assert {result.status for result in load.results} == {200}


async def test_a_token_that_is_refused_everywhere_is_told_after_one_more_look(
    runner: FakeRunner, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    project(path, jwt.encode({"exp": 1}, "k" * 32))
    async with KnativeRig(fake_pod(runner)) as rig:
        rig.queue_proxy.tokens = {"Bearer new"}
        backend = await open_knative(by_service(rig, tmp_path, token_file=path))
        with pytest.raises(RunnerUnreachable, match="token_expired"):
            await backend.execute(execute_request())
        assert rig.queue_proxy.refused == 0  # it never left
        project(path, "stale")
        with pytest.raises(RunnerProtocolError, match="runner_refused_credentials"):
            await backend.execute(execute_request())
        assert rig.queue_proxy.refused == 1  # the file had no other one
        project(path, "new")
        assert (await backend.execute(execute_request())).status == 200
        await backend.aclose()
    assert len(runner.executed) == 1


async def test_docker_and_knative_are_swapped_under_load(runner: FakeRunner) -> None:
    runner.guest = echo
    statuses: list[int] = []
    async with KnativeRig(fake_pod(runner)) as rig:
        docker = {"RUNNER_BACKEND": "docker", "RUNNER_DOCKER_HOST": runner.url}
        knative = behind_the_rig(rig)
        async with running({**knative, **docker}) as gateway:
            going = True

            async def call() -> None:
                while going:
                    async with gateway.client.get(f"{gateway.url}/api/ext/acme.crm/hello") as told:
                        statuses.append(told.status)

            async with asyncio.TaskGroup() as group:
                for _ in range(CALLERS):
                    group.create_task(call())
                for turn in range(6):
                    gateway.environ["RUNNER_BACKEND"] = ("knative", "docker")[turn % 2]
                    async with gateway.client.post(f"{gateway.url}/gateway/v1/reload") as told:
                        assert (await told.json())["outcome"] == "switched"
                    wanted = len(statuses) + 2 * CALLERS
                    await until(lambda wanted=wanted: len(statuses) >= wanted)  # type: ignore[misc]
                going = False
    assert set(statuses) == {200}
    assert len(runner.executed) == len(statuses)


async def test_a_real_runner_comes_up_behind_all_of_it(tmp_path: Path) -> None:
    async with KnativeRig(real_runner, asleep=True) as rig:
        backend = await open_knative(by_service(rig, tmp_path, cold_start_s=30.0))
        result = await backend.execute(execute_request(timeout_s=30.0))
        await backend.aclose()
    assert (result.status, result.error) == (502, "bundle_fetch_failed")  # it has no bundle
    assert result.queued_ms is not None
