"""What h2load says, and what is made of it."""

import pytest

from benchmarks.load import LoadFailed
from benchmarks.paced import Waits, parse_log


@pytest.mark.parametrize("said", ["503", "-1"])  # an answer that failed, and none
def test_a_wrong_answer_ends_the_round(said: str) -> None:
    with pytest.raises(LoadFailed, match=said):
        parse_log(f"1\t200\t10\n2\t{said}\t20\n", status=200)


def test_columns_that_may_be_added_later_are_not_looked_at() -> None:
    assert parse_log("1\t304\t10\tmore\n", status=304) == [0.01]


def test_a_median_is_taken_of_each_figure_by_itself() -> None:
    rounds = [Waits(1.0, 9.0, 10.0), Waits(2.0, 3.0, 30.0), Waits(3.0, 6.0, 20.0)]
    assert Waits.median(rounds) == Waits(2.0, 6.0, 20.0)
    assert rounds[0].spread == 9.0
