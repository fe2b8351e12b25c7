"""What a scraper reads of starts, from one process and from several."""

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from backends.contract import BackendKind, BackendStats
from backends.knative_path.cold_figures import ColdFigures
from gateway.collector import upstream
from gateway.metric_sums import added_up, as_text
from tests.fakes.runner import FakeRunner, echo
from tests.gateway.harness import Gateway, running
from tests.rigs.knative.pods import fake_pod
from tests.rigs.knative.rig import HOST, KnativeRig

NAME = "gateway_cold_start_seconds"


def behind_the_rig(rig: KnativeRig, **changes: str) -> dict[str, str]:
    """What the environment of a gateway in front of the rig says."""
    return {
        "RUNNER_BACKEND": "knative",
        "RUNNER_BASE_URL": rig.ingress_url,
        "RUNNER_KNATIVE_HOST": HOST,
        "RUNNER_KNATIVE_COLD_START_MS": "10000",
        "RUNNER_SERVICE_TOKEN": "a-service-token-for-tests",
        **changes,
    }


def starts_in(text: str) -> dict[str, float]:
    """The histogram's samples: by upper bound, and `count` and `sum`."""
    return {
        sample.labels.get("le") or sample.name.removeprefix(f"{NAME}_"): sample.value
        for family in text_string_to_metric_families(text)
        if family.name == NAME
        for sample in family.samples
    }


async def scraped(gateway: Gateway) -> str:
    async with gateway.client.get(f"{gateway.url}/metrics") as answer:
        return await answer.text()


async def test_a_start_is_measured_and_exported(runner: FakeRunner) -> None:
    runner.guest = echo
    async with (
        KnativeRig(fake_pod(runner), asleep=True, envoy=False) as rig,
        running(behind_the_rig(rig)) as gateway,
    ):
        assert starts_in(await scraped(gateway))["count"] == 0
        for _ in range(2):
            async with gateway.client.get(f"{gateway.url}/api/ext/acme.crm/hello") as called:
                assert called.status == 200
        text = await scraped(gateway)
    starts = starts_in(text)
    assert (starts["count"], starts["+Inf"]) == (1, 1)  # the second call found it warm
    assert starts["sum"] > 0
    assert f'{NAME}_count{{backend="knative"}} 1.0' in text


def test_the_starts_of_several_workers_are_added_up() -> None:
    def worker(*taken_s: float) -> list[Metric]:
        figures = ColdFigures()
        for each in taken_s:
            figures.record("ext-1", each)
        stats = BackendStats(cold_starts=figures.histogram())
        return list(upstream({BackendKind.KNATIVE: stats}))

    starts = starts_in(as_text(added_up(worker(0.5, 4.0), worker(0.5, 900.0))).decode())
    assert (starts["0.25"], starts["0.5"], starts["5.0"]) == (0, 2, 3)
    assert (starts["120.0"], starts["+Inf"], starts["count"]) == (3, 4, 4)
    assert starts["sum"] == 905


def test_a_backend_that_never_waits_shows_no_starts() -> None:
    assert starts_in(as_text(upstream({BackendKind.DOCKER: BackendStats()})).decode()) == {}
