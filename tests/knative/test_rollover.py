"""Things are replaced under load, and no call fails for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backends.contract import ExecuteResult, RunnerBackend
from backends.knative import open_knative
from tests.backends.calls import execute_request
from tests.fakes.runner import FakeRunner
from tests.knative.conftest import by_service, until
from tests.rigs.knative.pods import fake_pod, real_runner
from tests.rigs.knative.rig import KnativeRig

pytestmark = pytest.mark.knative

CALLERS = 8


class Load:
    """Callers that call again as soon as they were answered."""

    def __init__(self, backend: RunnerBackend) -> None:
        self.results: list[ExecuteResult] = []
        self._backend = backend
        self._going = True
        self._more = asyncio.Condition()

    async def some_more(self) -> None:
        """Wait until twice as many as there are callers were answered from now on."""
        async with asyncio.timeout(20), self._more:
            wanted = len(self.results) + 2 * CALLERS
            await self._more.wait_for(lambda: len(self.results) >= wanted)

    async def _call(self) -> None:
        while self._going:
            result = await self._backend.execute(execute_request())
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


async def test_a_real_runner_comes_up_behind_all_of_it(tmp_path: Path) -> None:
    async with KnativeRig(real_runner, asleep=True) as rig:
        backend = await open_knative(by_service(rig, tmp_path, cold_start_s=30.0))
        result = await backend.execute(execute_request(timeout_s=30.0))
        await backend.aclose()
    assert (result.status, result.error) == (502, "bundle_fetch_failed")  # it has no bundle
    assert result.queued_ms is not None
