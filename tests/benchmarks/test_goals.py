"""Goals: about what is measured, and judged in the right direction."""

from pathlib import Path

from benchmarks.figures import Sample, figures
from benchmarks.goals import BOUNDS, GOALS, measured_amounts, verdict
from benchmarks.peers import PEERS
from benchmarks.site import build_site
from benchmarks.workloads import all_work


def test_every_goal_is_about_work_that_its_peer_is_given(tmp_path: Path) -> None:
    works = {work.name: work for work in all_work(build_site(tmp_path), "a-key-for-tests")}
    kinds = {peer.name: peer.kind for peer in PEERS}
    for goal in GOALS:
        exchanges = works[goal.work].exchanges
        assert kinds[goal.peer] in exchanges, goal
        assert any(kind.startswith("gateway") for kind in exchanges), goal
        assert goal.must is not None or goal.aim is not None, goal


def test_a_cost_may_be_as_high_as_its_limit_and_a_rate_as_low() -> None:
    assert [verdict(value, 1.0) for value in (0.9, 1.0, 1.1)] == ["met", "met", "missed"]
    rates = [verdict(value, 1.0, at_least=True) for value in (0.9, 1.0, 1.1)]
    assert rates == ["missed", "met", "met"]


def test_calls_a_second_follow_from_what_one_call_costs() -> None:
    calls = figures([Sample(cpu_us=500.0, requests_per_s=1.0, p50_ms=1.0, p99_ms=1.0)])
    amounts = measured_amounts(
        {"EMBs": {"gateway-embedded": calls}}, {"start to first answer": 0.5}
    )
    assert amounts == {
        "embedded calls of a small handler a second of CPU": 2000.0,
        "start to first answer": 0.5,
    }
    assert amounts.keys() <= {bound.measure for bound in BOUNDS}
