"""Every timer and bound of queue-proxy, and ours that run out before them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from backends.contract import AssetResponse
from backends.errors import Phase, RunnerOverloaded, RunnerRefusedSize, RunnerTimeout
from backends.knative import open_knative
from backends.settings import KnativeSettings
from tests.backends.calls import asset_request, execute_request
from tests.fakes.runner import FakeRunner, HttpAnswer
from tests.knative.conftest import WITH_AND_WITHOUT_ENVOY, by_host, by_service
from tests.rigs.knative.passing import Listener
from tests.rigs.knative.pods import fake_pod
from tests.rigs.knative.queue_proxy import QueueLimits, QueueProxy
from tests.rigs.knative.rig import HOST, KnativeRig


@asynccontextmanager
async def stalls_midway() -> AsyncIterator[str]:
    """A runner that begins an answer of unknown length and never goes on."""
    ended = asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        begun = web.StreamResponse(headers={"content-type": "text/javascript"})
        begun.enable_chunked_encoding()
        await begun.prepare(request)
        await begun.write(b"console.log('half of it')")
        await ended.wait()
        return begun

    listener = Listener(answer)
    await listener.start()
    try:
        yield listener.url
    finally:
        ended.set()
        await listener.stop()


async def taken(answer: AssetResponse) -> bytes:
    assert not isinstance(answer.body, bytes)
    return b"".join([part async for part in answer.body])


@pytest.mark.parametrize("envoy", WITH_AND_WITHOUT_ENVOY)
async def test_no_answer_in_time_is_a_timeout(runner: FakeRunner, envoy: bool) -> None:
    runner.may_answer.clear()
    limits = QueueLimits(response_start_s=0.1)
    async with KnativeRig(fake_pod(runner), limits=limits, envoy=envoy) as rig:
        backend = await open_knative(by_host(rig))
        with pytest.raises(RunnerTimeout) as caught:
            await backend.execute(execute_request())
        await backend.aclose()
    assert caught.value.phase is Phase.FIRST_BYTE


@pytest.mark.parametrize("envoy", WITH_AND_WITHOUT_ENVOY)
@pytest.mark.parametrize(
    "limits", [QueueLimits(idle_s=0.1), QueueLimits(timeout_s=0.3)], ids=["idle", "total"]
)
async def test_a_page_that_was_cut_short_never_ends_as_if_it_were_whole(
    limits: QueueLimits, envoy: bool
) -> None:
    async with KnativeRig(stalls_midway, limits=limits, envoy=envoy) as rig:
        backend = await open_knative(by_host(rig))
        answer = await backend.fetch_asset(asset_request("app.js"))
        with pytest.raises(RunnerTimeout) as caught:
            await taken(answer)
        await backend.aclose()
    assert caught.value.phase is Phase.BODY  # told by the text, not by a limit of ours


@pytest.mark.parametrize(
    ("limits", "phase"),
    [(QueueLimits(idle_s=0.5), Phase.IDLE), (QueueLimits(timeout_s=0.5), Phase.TOTAL)],
    ids=["idle", "total"],
)
async def test_our_limits_run_out_first_when_theirs_are_known(
    limits: QueueLimits, phase: Phase, tmp_path: Path
) -> None:
    async with KnativeRig(stalls_midway, limits=limits, envoy=False) as rig:
        backend = await open_knative(by_service(rig, tmp_path))
        answer = await backend.fetch_asset(asset_request("app.js"))
        with pytest.raises(RunnerTimeout) as caught:
            await taken(answer)
        await backend.aclose()
    assert caught.value.phase is phase


async def test_a_full_queue_is_an_overload_for_whoever_comes_last(
    runner: FakeRunner,
) -> None:
    runner.may_answer.clear()
    limits = QueueLimits(container_concurrency=1)
    async with QueueProxy(runner.url, limits) as queue_proxy:
        backend = await open_knative(KnativeSettings(base_url=queue_proxy.url, host=HOST))
        calls = [asyncio.create_task(backend.execute(execute_request())) for _ in range(12)]
        done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        with pytest.raises(RunnerOverloaded, match="queue_full"):
            await done.pop()
        runner.may_answer.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
        await backend.aclose()
    assert sum(isinstance(result, RunnerOverloaded) for result in results) == 1
    assert len(runner.executed) == 11


async def test_one_extension_waits_here_and_files_pass_it_by(
    runner: FakeRunner, tmp_path: Path
) -> None:
    limits = QueueLimits(container_concurrency=1)
    async with KnativeRig(fake_pod(runner), limits=limits, envoy=False) as rig:
        backend = await open_knative(by_service(rig, tmp_path))
        runner.may_answer.clear()
        calls = [asyncio.create_task(backend.execute(execute_request())) for _ in range(30)]
        await runner.asked.get()
        shown = await backend.metadata()
        file = asyncio.create_task(backend.fetch_asset(asset_request("app.js")))
        await rig.queue_proxy.waiting.get()
        runner.may_answer.set()
        results = await asyncio.gather(*calls)
        assert (await file).status == 200
        await backend.aclose()
    assert [result.status for result in results] == [200] * 30
    handlers = shown["handlers"]
    assert isinstance(handlers, dict)
    assert (handlers["running"], handlers["waiting"]) == (10, 20)
    assert any(result.queued_ms for result in results)


@pytest.mark.parametrize("envoy", WITH_AND_WITHOUT_ENVOY)
async def test_an_early_answer_to_a_large_upload_comes_through(
    runner: FakeRunner, envoy: bool
) -> None:
    runner.script.append(HttpAnswer(status=413))
    async with KnativeRig(fake_pod(runner), envoy=envoy) as rig:
        backend = await open_knative(by_host(rig))
        with pytest.raises(RunnerRefusedSize):
            await backend.execute(execute_request(body=b"x" * 8_000_000))
        runner.script.clear()
        assert (await backend.execute(execute_request())).status == 200
        await backend.aclose()
