"""What is wrong between a gateway and the Serving API, asked of a double of that API."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.doctor.findings import Level
from tests.gateway.doctor.rig import of, the_one, visit
from tests.rigs.knative.serving_api import NAMESPACE, ServingApi

SERVICE = "runner"


@pytest.fixture
async def api() -> AsyncIterator[ServingApi]:
    async with ServingApi() as api:
        yield api


async def show(api: ServingApi, *, ready: bool, latest: str | None, reason: str = "") -> None:
    condition = {"type": "Ready", "status": str(ready), **({"reason": reason} if reason else {})}
    status: dict[str, Any] = {
        "url": "http://runner.example",
        "observedGeneration": 1,
        "conditions": [condition],
    }
    if latest is not None:
        status["latestReadyRevisionName"] = latest
        status["traffic"] = [{"revisionName": latest, "percent": 100}]
    await api.put("services", SERVICE, metadata={"generation": 1}, status=status)


def named(api: ServingApi, folder: Path, **more: str) -> dict[str, str]:
    return {
        "RUNNER_BACKEND": "knative",
        "RUNNER_BASE_URL": "http://127.0.0.1:9",
        "RUNNER_KNATIVE_NAMESPACE": NAMESPACE,
        "RUNNER_KNATIVE_SERVICE": SERVICE,
        "KUBECONFIG": str(api.kubeconfig(folder)),
        **more,
    }


async def test_a_ready_service_is_named_with_its_revision(api: ServingApi, tmp_path: Path) -> None:
    await show(api, ready=True, latest="runner-00002")
    found = the_one(await visit(**named(api, tmp_path)), "serving", "runner-00002")
    assert found.level is Level.OK
    assert "asleep" not in found.what
    scaled = {"actualReplicas": 0, "desiredReplicas": 0}
    await api.put("revisions", "runner-00002", status=scaled)
    assert the_one(await visit(**named(api, tmp_path)), "serving", "asleep").level is Level.OK


async def test_a_rollout_that_failed_is_a_warning_while_the_old_revision_serves(
    api: ServingApi, tmp_path: Path
) -> None:
    await show(api, ready=False, latest="runner-00001", reason="RevisionFailed")
    found = the_one(await visit(**named(api, tmp_path)), "serving", "RevisionFailed")
    assert found.level is Level.WARNING
    assert found.why.startswith("runner-00001")


async def test_a_service_without_traffic_is_found(api: ServingApi, tmp_path: Path) -> None:
    await show(api, ready=False, latest=None, reason="RevisionMissing")
    found = the_one(await visit(**named(api, tmp_path)), "serving", "takes no traffic")
    assert found.level is Level.FAILED
    assert "kubectl describe ksvc runner --namespace extensions" in found.fix


async def test_a_service_that_does_not_exist_is_found(api: ServingApi, tmp_path: Path) -> None:
    found = the_one(await visit(**named(api, tmp_path)), "serving", "no service extensions/runner")
    assert found.level is Level.FAILED


async def test_a_gateway_that_may_not_ask_is_told_which_role_it_needs(
    api: ServingApi, tmp_path: Path
) -> None:
    environ = named(api, tmp_path)
    api.tokens = {"another"}
    found = the_one(await visit(**environ), "serving", "cannot be read: api_refused (401)")
    assert found.level is Level.FAILED
    assert "deploy/base/role.yaml" in found.fix
    with_host = await visit(**environ, RUNNER_KNATIVE_HOST="runner.example")
    assert the_one(with_host, "serving", "api_refused (401)").level is Level.WARNING


async def test_an_api_that_is_away_and_credentials_that_are_none_are_found(
    api: ServingApi, tmp_path: Path
) -> None:
    environ = named(api, tmp_path)
    await api.stop()
    away = the_one(await visit(**environ), "serving", "api_unreachable")
    await api.start()
    (tmp_path / "kubeconfig").write_text("nothing")
    none = the_one(await visit(**environ), "serving", "no_cluster_credentials")
    assert (away.level, none.level) == (Level.FAILED, Level.FAILED)
    assert away.fix != none.fix
    runner = the_one(await visit(**environ), "runner", "serving_api_unread")
    assert runner.fix == "see what is said about serving"


async def test_a_runner_without_a_named_service_needs_no_api() -> None:
    environ = {"RUNNER_BACKEND": "knative", "RUNNER_BASE_URL": "http://127.0.0.1:9"}
    assert of(await visit(**environ), "serving") == []
