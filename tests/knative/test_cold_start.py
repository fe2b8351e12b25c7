"""Nothing runs, and callers come: each is answered once, or told in time and truthfully."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from backends.contract import Readiness
from backends.errors import (
    AssetNotFound,
    BackendError,
    RunnerOverloaded,
    RunnerProtocolError,
    RunnerTimeout,
    RunnerUnreachable,
)
from backends.knative import open_knative
from backends.knative_path.cold_figures import ColdFigures
from backends.knative_path.cold_line import COLD_AT_ONCE
from backends.settings import KnativeSettings, Timeouts
from tests.backends.calls import asset_request, execute_request
from tests.fakes.raw_runner import RawRunner, response, send
from tests.fakes.runner import Envelope, FakeRunner, HttpAnswer, echo
from tests.knative.conftest import WITH_AND_WITHOUT_ENVOY, by_host, by_service, until
from tests.rigs.knative.pods import fake_pod
from tests.rigs.knative.rig import KnativeRig, held_starts

FULL = HttpAnswer(status=503, body=b"pending request queue full")


@pytest.mark.parametrize("envoy", WITH_AND_WITHOUT_ENVOY)
async def test_fifty_first_calls_wait_for_one_start_and_each_runs_once(
    runner: FakeRunner, tmp_path: Path, envoy: bool
) -> None:
    async with KnativeRig(fake_pod(runner), asleep=True, envoy=envoy) as rig:
        backend = await open_knative(by_service(rig, tmp_path))
        assert (await backend.health()).detail == "scaled_to_zero"
        async with held_starts(rig):
            calls = [
                asyncio.create_task(
                    backend.execute(execute_request(request_id=f"req-{number}", path="/echo"))
                )
                for number in range(50)
            ]
            for _ in range(COLD_AT_ONCE):
                await rig.activator.holding.get()
            assert rig.activator.held == COLD_AT_ONCE
        results = await asyncio.gather(*calls)
        stats = backend.stats()
        facts = await backend.metadata()
        await backend.aclose()
    assert [result.status for result in results] == [200] * 50
    assert len({each.headers["x-request-id"] for each in runner.executed}) == 50
    assert len(runner.executed) == 50
    assert rig.starts == 1
    assert all(result.queued_ms for result in results)
    assert stats.cold_starts is not None
    assert (stats.cold_starts.count, facts["cold"]) == (50, False)
    assert stats.cold_starts.total_s >= max(result.queued_ms or 0.0 for result in results) / 1000


async def test_looking_after_a_sleeping_service_does_not_wake_it(
    runner: FakeRunner, tmp_path: Path
) -> None:
    async with KnativeRig(fake_pod(runner), asleep=True, envoy=False) as rig:
        backend = await open_knative(by_service(rig, tmp_path))
        for _ in range(3):
            assert (await backend.health()).readiness is Readiness.READY
        await backend.aclose()
    assert (rig.starts, rig.activator.probes, runner.received) == (0, 3, [])


@pytest.mark.parametrize("envoy", WITH_AND_WITHOUT_ENVOY)
async def test_a_call_is_not_told_before_the_budget_for_starts_is_spent(
    runner: FakeRunner, tmp_path: Path, envoy: bool
) -> None:
    async with KnativeRig(fake_pod(runner), asleep=True, envoy=envoy) as rig:
        backend = await open_knative(by_service(rig, tmp_path, cold_start_s=0.3))
        async with held_starts(rig):
            with pytest.raises(RunnerTimeout):
                await backend.execute(execute_request())
            await rig.activator.given_up.get()
        await backend.aclose()
    assert runner.executed == []


async def test_a_start_may_take_longer_than_an_answer_otherwise_may(
    runner: FakeRunner, tmp_path: Path
) -> None:
    hasty = Timeouts(call_first_byte_s=0.1)
    async with KnativeRig(fake_pod(runner), asleep=True, envoy=False) as rig:
        patient = await open_knative(by_service(rig, tmp_path, timeouts=hasty))
        impatient = await open_knative(by_host(rig, timeouts=hasty))
        async with held_starts(rig):
            call = asyncio.create_task(patient.execute(execute_request()))
            await rig.activator.holding.get()
            with pytest.raises(RunnerTimeout):  # so the time that the other has is over too
                await impatient.execute(execute_request())
        assert (await call).status == 200
        await patient.aclose()
        await impatient.aclose()


async def test_a_refusal_while_cold_is_waited_out(runner: FakeRunner) -> None:
    runner.script.extend([FULL, FULL, Envelope(status=201)])
    backend = await open_knative(KnativeSettings(base_url=runner.url, cold_start_s=10.0))
    with capture_logs() as logs:
        result = await backend.execute(execute_request(request_id="req-1"))
    stats = backend.stats()
    await backend.aclose()
    assert (result.status, len(runner.executed), stats.retries) == (201, 3, 2)
    told = [each for each in logs if each["event"] == "call_waits_for_runner"]
    assert [(each["request_id"], each["error"]) for each in told] == [("req-1", "queue_full")]
    assert result.queued_ms is not None


async def test_a_full_queue_in_front_of_a_running_pod_is_told_at_once(runner: FakeRunner) -> None:
    backend = await open_knative(KnativeSettings(base_url=runner.url, cold_start_s=10.0))
    runner.guest = echo
    await backend.execute(execute_request())
    runner.script.append(FULL)
    with pytest.raises(RunnerOverloaded, match="queue_full"):
        await backend.execute(execute_request())
    await backend.aclose()
    assert len(runner.executed) == 2


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (HttpAnswer(status=502, body=b"EOF"), RunnerProtocolError),
        (HttpAnswer(status=504, body=b"request timeout"), RunnerTimeout),
        (HttpAnswer(status=503, body=b"something else"), RunnerOverloaded),
        (
            HttpAnswer(
                status=503,
                body=b"upstream connect error or disconnect/reset before headers. "
                b"reset reason: connection termination",
            ),
            RunnerProtocolError,
        ),
    ],
)
async def test_a_call_that_may_have_run_is_never_sent_twice(
    runner: FakeRunner, answer: HttpAnswer, failure: type[BackendError]
) -> None:
    runner.script.append(answer)
    backend = await open_knative(KnativeSettings(base_url=runner.url, cold_start_s=10.0))
    with pytest.raises(failure):
        await backend.execute(execute_request())
    await backend.aclose()
    assert len(runner.executed) == 1


async def test_a_file_may_be_asked_for_again(runner: FakeRunner) -> None:
    runner.asset_script.append(HttpAnswer(status=502, body=b"EOF"))
    backend = await open_knative(KnativeSettings(base_url=runner.url, cold_start_s=10.0))
    answer = await backend.fetch_asset(asset_request("app.js"))
    await backend.aclose()
    assert (answer.status, len(runner.assets)) == (200, 2)
    assert answer.queued_ms is not None


async def test_a_connection_that_is_refused_is_tried_until_somebody_listens(
    runner: FakeRunner,
) -> None:
    await runner.stop()
    backend = await open_knative(KnativeSettings(base_url=runner.url, cold_start_s=10.0))
    call = asyncio.create_task(backend.execute(execute_request()))
    await until(lambda: backend.stats().retries > 0)
    await runner.start()
    assert (await call).status == 200
    await backend.aclose()


async def test_with_a_base_url_alone_nobody_waits_and_nothing_is_read_into_an_answer(
    runner: FakeRunner,
) -> None:
    runner.script.append(FULL)
    backend = await open_knative(KnativeSettings(base_url=runner.url))
    with pytest.raises(RunnerOverloaded, match="runner_said_503"):
        await backend.execute(execute_request())
    await runner.stop()
    with pytest.raises(RunnerUnreachable, match="connection_refused"):
        await backend.execute(execute_request())
    await backend.aclose()
    assert "forwarded" not in runner.executed[0].headers


async def test_a_missing_file_and_a_missing_service_are_told_apart(
    runner: FakeRunner,
) -> None:
    nobody = response(status="404 Not Found", fields=[("Server", "envoy")])
    async with RawRunner(send(nobody)) as ingress:
        backend = await open_knative(
            KnativeSettings(base_url=ingress.url, host="no.such.example", cold_start_s=5.0)
        )
        with pytest.raises(RunnerUnreachable, match="host_unknown_to_ingress"):
            await backend.fetch_asset(asset_request("app.js"))
        await backend.aclose()
    backend = await open_knative(KnativeSettings(base_url=runner.url, cold_start_s=5.0))
    with pytest.raises(AssetNotFound):
        await backend.fetch_asset(asset_request("missing.js"))
    await backend.aclose()


@pytest.mark.knative
async def test_envoys_own_refusals_are_recognised(runner: FakeRunner) -> None:
    async with KnativeRig(fake_pod(runner)) as rig:
        stranger = await open_knative(by_host(rig, host="stranger.example"))
        with pytest.raises(RunnerUnreachable, match="host_unknown_to_ingress"):
            await stranger.execute(execute_request())
        await stranger.aclose()
        known = await open_knative(by_host(rig))
        with pytest.raises(AssetNotFound):
            await known.fetch_asset(asset_request("missing.js"))
        await rig.activator.stop()
        with pytest.raises(RunnerUnreachable, match="pod_unreachable"):
            await known.execute(execute_request())
        await known.aclose()


async def test_a_dead_pod_is_known_by_what_the_activator_says(runner: FakeRunner) -> None:
    async with KnativeRig(fake_pod(runner), envoy=False) as rig:
        backend = await open_knative(by_host(rig))
        await runner.stop()
        with pytest.raises(RunnerUnreachable, match="pod_unreachable") as caught:
            await backend.execute(execute_request())
        rig.activator.revisions.clear()
        with pytest.raises(RunnerUnreachable, match="revision_gone"):
            await backend.execute(execute_request())
        await backend.aclose()
    assert "127.0.0.1" not in str(caught.value)


async def test_many_failures_open_the_circuit(runner: FakeRunner) -> None:
    await runner.stop()
    backend = await open_knative(KnativeSettings(base_url=runner.url, host="runner.example"))
    for _ in range(20):
        with pytest.raises(RunnerUnreachable, match="connection_refused"):
            await backend.execute(execute_request())
    with pytest.raises(RunnerUnreachable, match="circuit_open"):
        await backend.execute(execute_request())
    assert (await backend.metadata())["circuit"] == "open"
    await backend.aclose()


def test_retry_after_is_what_starts_took_so_far() -> None:
    figures = ColdFigures()
    assert figures.retry_after_s("a") == 1
    for taken in range(1, 21):
        figures.record("a", float(taken))
    known = figures.quantiles("a")
    assert known is not None
    assert (known.p50_s, known.p95_s) == (10.0, 19.0)
    assert figures.retry_after_s("a") == 19
    assert (figures.histogram().count, figures.histogram().total_s) == (20, 210.0)
    assert dict(figures.histogram().cumulative())["10.0"] == 10
    assert figures.retry_after_s("b") == 19  # of all, when nothing is known of one
    figures.record("c", 900.0)
    assert figures.retry_after_s("c") == 60
    for number in range(1000):
        figures.record(f"x{number}", 1.0)
    assert figures.quantiles("a") is None
