"""The Serving API is followed through everything it does to those who watch it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from backends.contract import Readiness, RunnerBackend
from backends.errors import RunnerUnreachable
from backends.knative import open_knative
from backends.knative_path import cluster, serving
from backends.knative_path.cluster import Cluster
from backends.knative_path.service import ServiceState
from backends.knative_path.serving import ServingReader
from backends.settings import ServingApi as ServingApiSettings
from tests.backends.calls import execute_request
from tests.fakes.runner import FakeRunner
from tests.knative.conftest import by_host, by_service
from tests.rigs.knative.pods import fake_pod
from tests.rigs.knative.rig import HOST, SERVICE, KnativeRig
from tests.rigs.knative.serving_api import NAMESPACE, ServingApi

DEADLINE_S = 20.0


async def show(api: ServingApi, revision: str) -> None:
    await api.put(
        "services",
        SERVICE,
        metadata={"generation": 1},
        status={
            "url": f"http://{HOST}",
            "observedGeneration": 1,
            "latestReadyRevisionName": revision,
            "conditions": [{"type": "Ready", "status": "True"}],
            "traffic": [{"revisionName": revision, "percent": 100}],
        },
    )


async def reads(reader: ServingReader, revision: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await reader.until(lambda state: state.latest_ready == revision)


@pytest.fixture
async def api() -> AsyncIterator[ServingApi]:
    async with ServingApi() as api:
        await show(api, "one")
        yield api


def unread(api: ServingApi, folder: Path) -> ServingReader:
    settings = ServingApiSettings(
        namespace=NAMESPACE, service=SERVICE, kubeconfig=str(api.kubeconfig(folder))
    )
    return ServingReader(lambda: Cluster.open(settings), SERVICE)


@pytest.fixture
async def reader(api: ServingApi, tmp_path: Path) -> AsyncIterator[ServingReader]:
    reader = unread(api, tmp_path)
    await reader.start()
    async with asyncio.timeout(DEADLINE_S):
        await api.until(lambda: api.watches == 2)
    yield reader
    await reader.aclose()


async def test_a_change_is_seen_without_asking_again(
    api: ServingApi, reader: ServingReader
) -> None:
    await show(api, "two")
    await reads(reader, "two")
    assert (api.lists, api.watches) == (2, 2)
    assert reader.current


async def test_a_service_with_hundreds_of_revisions_is_read(
    api: ServingApi, tmp_path: Path
) -> None:
    for number in range(10):
        annotations = {"big": "x" * 500_000}  # together more than a client takes for one line
        await api.put("revisions", f"old-{number}", metadata={"annotations": annotations})
    reader = unread(api, tmp_path)
    await reader.start()
    assert reader.state.latest_ready == "one"
    await reader.aclose()


async def test_of_too_many_revisions_the_newest_are_remembered(
    api: ServingApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def add(name: str, minute: int, replicas: int) -> None:
        made = {"creationTimestamp": f"2026-01-01T00:{minute:02}:00Z"}
        await api.put("revisions", name, metadata=made, status={"actualReplicas": replicas})

    monkeypatch.setattr(serving, "_MAX_OBJECTS", 2)  # as many as it takes would be slow
    await add("a-old", 1, replicas=0)
    await add("b-old", 2, replicas=0)
    await add("one", 9, replicas=3)  # which takes the traffic
    await add("z-old", 0, replicas=0)
    reader = unread(api, tmp_path)
    await reader.start()
    assert reader.state.replicas == 3
    await add("two", 10, replicas=5)
    await show(api, "two")
    async with asyncio.timeout(DEADLINE_S):
        await reader.until(lambda state: state.replicas == 5)
    await reader.aclose()


async def test_a_list_beyond_every_bound_is_an_api_that_cannot_be_read(
    api: ServingApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_MAX_LINE_BYTES", 64)  # a real one takes too long
    reader = unread(api, tmp_path)
    with pytest.raises(OSError, match="api_answer_too_large"):
        await reader.start()
    await reader.aclose()


async def test_a_watch_that_ended_goes_on_where_a_bookmark_left_it(
    api: ServingApi, reader: ServingReader
) -> None:
    marked = await api.bookmark()
    await show(api, "two")
    await reads(reader, "two")
    await api.end_watches()
    async with asyncio.timeout(DEADLINE_S):
        await api.until(lambda: api.watches == 4)
    await show(api, "three")
    await reads(reader, "three")
    assert api.lists == 2
    assert min(api.watched_from[2:]) >= marked


async def test_a_version_that_is_too_old_makes_it_list_anew(
    api: ServingApi, reader: ServingReader
) -> None:
    await show(api, "two")
    api.forget()
    await api.end_watches()
    async with asyncio.timeout(DEADLINE_S):
        await api.until(lambda: api.lists == 4)
    await show(api, "three")
    await reads(reader, "three")


async def test_an_api_that_is_back_is_not_waited_for_as_long_as_while_it_was_away(
    api: ServingApi, reader: ServingReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In place of the pauses: which of them it takes is the question, and minutes are no test.
    taken: list[int] = []

    def take(failures: int) -> float:
        taken.append(failures)
        return 0.01

    monkeypatch.setattr(serving, "_pause", take)
    await api.end_watches()
    await api.stop()
    async with asyncio.timeout(DEADLINE_S):
        while max(taken, default=0) < 5:  # noqa: ASYNC110  nothing tells us
            await asyncio.sleep(0.01)
    await show(api, "two")
    api.forget()
    await api.start()
    await reads(reader, "two")
    async with asyncio.timeout(DEADLINE_S):
        await api.until(lambda: api.lists == 4)
    assert taken[-1] == 1


async def test_an_expired_token_is_read_again_from_its_file(
    api: ServingApi, reader: ServingReader, tmp_path: Path
) -> None:
    api.tokens = {"renewed"}
    await api.end_watches()
    async with asyncio.timeout(DEADLINE_S):
        await api.until(lambda: api.refused > 0)
    (tmp_path / "api-token").write_text("renewed")
    await show(api, "two")
    await reads(reader, "two")


async def test_what_was_known_stays_known_while_the_api_is_away(
    api: ServingApi, reader: ServingReader
) -> None:
    await api.end_watches()
    await api.stop()
    assert reader.state.latest_ready == "one"
    await api.start()
    await show(api, "two")
    await reads(reader, "two")


async def test_a_deleted_service_is_not_ready(api: ServingApi, reader: ServingReader) -> None:
    await api.delete("services", SERVICE)
    async with asyncio.timeout(DEADLINE_S):
        await reader.until(lambda state: not state.serving)
    assert reader.state == ServiceState()


async def test_the_service_tells_its_host_and_an_operator_sees_all_of_it(
    runner: FakeRunner, tmp_path: Path
) -> None:
    async with KnativeRig(fake_pod(runner), envoy=False) as rig:
        backend = await open_knative(by_service(rig, tmp_path))
        await backend.execute(execute_request())
        shown = await backend.metadata()
        health = await backend.health()
        await rig.publish(observedGeneration=0)
        rolling = await _health_detail(backend, "rollout_in_progress")
        await rig.publish(
            conditions=[{"type": "Ready", "status": "False"}], latestReadyRevisionName=None
        )
        down = await _health_detail(backend, "service_not_ready")
        await backend.aclose()
    assert runner.executed[0].headers["host"] == HOST
    serving = shown["serving"]
    assert isinstance(serving, dict)
    assert serving["traffic"] == [{"revision": "runner-00001", "percent": 100, "tag": None}]
    assert (serving["replicas"], serving["generation_observed"]) == (1, True)
    assert "api-token" not in str(shown)
    assert (health.readiness, health.detail) == (Readiness.READY, "")
    assert (rolling, down) == (Readiness.READY, Readiness.DOWN)


async def _health_detail(backend: RunnerBackend, detail: str) -> Readiness:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            health = await backend.health()
            if health.detail == detail:
                return health.readiness


@pytest.mark.parametrize("broken", ["away", "refused", "unknown"])
async def test_a_service_that_cannot_be_read_is_refused_unless_its_host_is_given(
    runner: FakeRunner, tmp_path: Path, broken: str
) -> None:
    async with KnativeRig(fake_pod(runner), envoy=False) as rig:
        settings = by_service(rig, tmp_path)
        by_hand = replace(settings, host=HOST)
        match broken:
            case "away":
                await rig.api.stop()
            case "refused":
                rig.api.tokens = set()
            case _:
                await rig.api.delete("services", SERVICE)
        with pytest.raises(RunnerUnreachable) as caught:
            await open_knative(settings)
        assert caught.value.reason == (
            "service_has_no_address" if broken == "unknown" else "serving_api_unread"
        )
        assert "api-token" not in f"{caught.value} {caught.value.__cause__}"
        if broken == "unknown":
            assert f"{NAMESPACE}/{SERVICE} is not there" in str(caught.value.__cause__)
        backend = await open_knative(by_hand)
        assert (await backend.execute(execute_request())).status == 200
        await backend.aclose()


async def test_without_any_credentials_the_reason_says_so(tmp_path: Path) -> None:
    reader = ServingReader(
        lambda: Cluster.open(ServingApiSettings(namespace=NAMESPACE, service=SERVICE)), SERVICE
    )
    with pytest.raises(OSError, match="no_cluster_credentials"):
        await reader.start()
    await reader.aclose()


async def test_a_backend_by_host_reads_no_api(runner: FakeRunner) -> None:
    async with KnativeRig(fake_pod(runner), envoy=False) as rig:
        backend = await open_knative(by_host(rig))
        await backend.execute(execute_request())
        shown = await backend.metadata()
        await backend.aclose()
    assert (shown["serving"], rig.api.lists) == (None, 0)
