"""A rig with a fake runner in its pods, and backends that reach it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from backends.settings import KnativeSettings, ServingApi
from tests.backends.hello_runner import hello_guest
from tests.fakes.runner import FakeRunner
from tests.rigs.knative.rig import HOST, SERVICE, KnativeRig
from tests.rigs.knative.serving_api import NAMESPACE

WITH_AND_WITHOUT_ENVOY = [
    pytest.param(False, id="activator"),
    pytest.param(True, id="envoy", marks=pytest.mark.knative),
]


@pytest.fixture
async def runner() -> AsyncIterator[FakeRunner]:
    async with FakeRunner(hello_guest) as runner:
        yield runner


async def until(true: Callable[[], bool]) -> None:
    """Look again and again at what has no event of its own to wait on."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - counters have no events
            await asyncio.sleep(0.005)


def by_host(rig: KnativeRig, **changes: object) -> KnativeSettings:
    """Settings that name the host by hand, so that the rig's limits are not known."""
    settings = {"base_url": rig.ingress_url, "host": HOST, **changes}
    return KnativeSettings(**settings)  # type: ignore[arg-type] # the test's own members


def by_service(rig: KnativeRig, folder: Path, **changes: object) -> KnativeSettings:
    """Settings that name the service and let the Serving API tell the rest."""
    serving = ServingApi(
        namespace=NAMESPACE, service=SERVICE, kubeconfig=str(rig.api.kubeconfig(folder))
    )
    settings = {"base_url": rig.ingress_url, "serving": serving, "cold_start_s": 10.0, **changes}
    return KnativeSettings(**settings)  # type: ignore[arg-type] # the test's own members
