"""What docs/scaling.md plans with is what docs/performance.md has measured."""

import re

import pytest

from tests.repo.files import ROOT

SCALING = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
PERFORMANCE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
COSTS_US = {
    work: float(us)
    for work, us in re.findall(r"(?m)^\| (\w+) \| ([\d.]+) \([\d.]+\) \|", PERFORMANCE)
}
ROWS = re.findall(r"(?m)^\| ([^|]+) \| (\w+) \| ([\d,]+) \|$", SCALING)
PLANNED = 0.6
PODS = 10


def about(measured: float) -> object:
    """What one run has measured, another has not: a page may stay as long as it is near."""
    return pytest.approx(measured, rel=0.25)


def number(pattern: str, text: str = SCALING) -> float:
    (found,) = re.findall(pattern, text)
    return float(found.replace(",", ""))


def test_the_table_has_a_row_for_each_kind_of_request() -> None:
    assert [row for _, row, _ in ROWS] == ["W4", "W4b", "W1h", "W2", "W3", "EXT"]


@pytest.mark.parametrize(("work", "row", "a_second"), ROWS)
def test_a_core_carries_what_the_formula_makes_of_the_measured_cost(
    work: str, row: str, a_second: str
) -> None:
    assert float(a_second.replace(",", "")) == about(PLANNED * 1_000_000 / COSTS_US[row]), work


def test_figures_in_the_text_are_those_of_the_tables() -> None:
    call_us = COSTS_US["EXT"]
    assert number(r"the ([\d,]+) µs that the gateway spends") == about(call_us)
    cluster = number(r"about ([\d,]+) handler calls a second")
    assert cluster == about(PODS * PLANNED * 1_000_000 / call_us)
    idle_kib = number(r"\| memory of an idle connection .*\| ([\d.]+) KiB \|", PERFORMANCE)
    assert number(r"about\s+(\d+) KiB for each idle connection") == about(idle_kib)
