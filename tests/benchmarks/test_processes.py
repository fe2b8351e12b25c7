"""Reading /proc: what belongs to a server, and what it has used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.processes import Stat, parse_kib, parse_stat, tree_of

NUMBERS = "1 7 7 0 -1 4194560 9 0 0 0 30 12 4 1 20 0 1 0 99 0 0"


@given(st.text(st.characters(exclude_characters="\n"), max_size=15))
def test_a_process_may_be_called_anything(name: str) -> None:
    assert parse_stat(f"42 ({name}) S {NUMBERS}") == Stat(pid=42, parent=1, cpu_ticks=47)


@pytest.mark.parametrize("line", ["", "42 (nginx) S 1 7", "nginx"])
def test_a_line_that_is_cut_short_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not a line"):
        parse_stat(line)


def test_a_server_is_its_whole_tree_and_nothing_beside_it() -> None:
    parents = {1: 0, 10: 1, 11: 10, 12: 11, 20: 1, 21: 20}
    stats = [Stat(pid, parent, 0) for pid, parent in parents.items()]
    assert tree_of(10, stats) == {10, 11, 12}
    assert tree_of(21, stats) == {21}


def test_a_process_without_memory_of_its_own_has_none() -> None:
    assert parse_kib("Name:\tkthreadd\nThreads:\t1\n", "VmRSS") == 0
    assert parse_kib("VmHWM:\t    99 kB\nVmRSS:\t    12 kB\n", "VmRSS") == 12
