"""Several processes' metrics as one."""

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from gateway.metric_sums import added_up, as_text, counted, not_counted
from gateway.supervisor.counters import Counters
from middleware.backend_tag import ServedBy
from middleware.metrics import Metrics


def worker(calls: int, *, generation: float = 2, up: float = 1) -> list[Metric]:
    """What a worker says that has answered so many calls, each within 3 ms."""
    metrics = Metrics(CollectorRegistry())
    for _ in range(calls):
        metrics.passed("/api", "GET", 200, ServedBy("docker", 1), "ok", 0.003)
    metrics.in_flight["/api"] = calls
    generations = GaugeMetricFamily("gateway_generation", "...", generation)
    is_up = GaugeMetricFamily("gateway_backend_up", "...", labels=["backend"])
    is_up.add_metric(["docker"], up)
    swaps = CounterMetricFamily("gateway_swaps", "...", labels=["outcome"])
    swaps.add_metric(["switched"], generation - 1)
    return [*metrics.collect(), generations, is_up, swaps]


def samples(families: list[Metric]) -> dict[str, float]:
    """By name and labels, read back from the text that a scraper gets."""
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(as_text(families).decode())
        for sample in family.samples
    }


def test_counts_are_added_and_states_are_not() -> None:
    told = samples(added_up(worker(3), worker(4, up=0)))
    calls = (
        "gateway_requests_total[('backend', 'docker'), ('method', 'GET'), ('outcome', 'ok'),"
        " ('route', '/api'), ('status', '200')]"
    )
    assert told[calls] == 7
    route = "('backend', 'docker')"
    durations = "gateway_request_duration_seconds"
    assert told[f"{durations}_count[{route}, ('route', '/api')]"] == 7
    assert told[f"{durations}_bucket[{route}, ('le', '0.0025'), ('route', '/api')]"] == 0
    assert told[f"{durations}_bucket[{route}, ('le', '0.005'), ('route', '/api')]"] == 7
    assert told["gateway_in_flight[('route', '/api')]"] == 7
    assert told["gateway_generation[]"] == 2
    assert told[f"gateway_backend_up[{route}]"] == 0
    assert told["gateway_swaps_total[('outcome', 'switched')]"] == 1


def test_one_process_alone_is_its_own_sum() -> None:
    assert samples(added_up(worker(3))) == samples(worker(3))


def test_what_is_counted_and_what_is_not_are_the_whole() -> None:
    families = worker(1)
    assert {family.name for family in counted(families)} == {
        "gateway_requests",
        "gateway_request_duration_seconds",
        "gateway_swaps",
    }
    assert len(counted(families)) + len(not_counted(families)) == len(families)


def _calls(counters: Counters) -> float:
    told = samples(counters.total())
    return sum(value for name, value in told.items() if name.startswith("gateway_requests_total"))


def test_counters_stay_when_their_worker_is_gone() -> None:
    counters = Counters()
    counters.note(1, worker(3))
    counters.note(2, worker(4))
    assert _calls(counters) == 7
    counters.bury(1)
    assert _calls(counters) == 7
    counters.note(3, worker(1))
    counters.note(2, worker(5))
    assert _calls(counters) == 9
    counters.bury(2)
    counters.bury(3)
    counters.bury(4)  # it died before it had said anything
    assert _calls(counters) == 9
