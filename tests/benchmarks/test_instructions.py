"""The guard: which counts make it fail."""

import pytest

from benchmarks.instructions import Growth, grown, parse_count


def test_only_growth_beyond_the_tolerance_counts() -> None:
    before = {"W1h": 1000, "W5": 1000, "W3": 1000, "EXT": 1000}
    now = {"W1h": 1100, "W5": 1101, "W3": 200}
    assert grown(before, now, tolerance_percent=10) == [Growth("W5", 1000, 1101)]


def test_work_that_is_new_has_nothing_to_grow_from() -> None:
    assert grown({}, {"W4": 10**9}, tolerance_percent=10) == []


def test_the_count_is_found_among_what_callgrind_says() -> None:
    assert parse_count("==7== Events    : Ir\n==7== Collected : 4681659931\n==7==\n") == 4681659931
    with pytest.raises(ValueError, match="no count"):
        parse_count("valgrind: failed to start tool")
