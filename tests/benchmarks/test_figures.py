"""Medians and ratios."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Figures, Sample, figures, own, ratio


def sample(cpu_us: float) -> Sample:
    return Sample(cpu_us=cpu_us, requests_per_s=1.0, p50_ms=1.0, p99_ms=1.0)


def cost(cpu_us: float) -> Figures:
    return figures([sample(cpu_us)])


def test_one_round_that_was_disturbed_does_not_count() -> None:
    found = figures([sample(20.0), sample(900.0), sample(21.0)])
    assert found.cpu_us == 21.0
    assert found.spread == 45.0
    assert found.rounds == 3


@given(st.lists(st.floats(1.0, 1e6), min_size=1))
def test_the_order_of_rounds_does_not_matter(costs: list[float]) -> None:
    one, other = (figures([sample(each) for each in some]) for some in (costs, costs[::-1]))
    assert one == other
    assert one.spread >= 1.0


@pytest.mark.parametrize("name", ["gateway", "gateway-cache", "gateway-embedded"])
def test_a_row_has_one_gateway_however_it_was_set_up(name: str) -> None:
    row = {"nginx": cost(10.0), name: cost(15.0)}
    assert own(row) == cost(15.0)
    assert ratio({"W4": row}, "W4", "nginx") == 1.5


def test_what_was_not_measured_has_no_ratio() -> None:
    costs = {"W1h": {"gateway": cost(10.0)}, "W5": {"nginx": cost(10.0)}}
    assert ratio(costs, "W1h", "nginx") is None
    assert ratio(costs, "W5", "nginx") is None
    assert ratio(costs, "W8", "nginx") is None
    assert ratio({"W1h": {"gateway": cost(1.0), "nginx": cost(0.0)}}, "W1h", "nginx") is None
