"""Ranges: never outside the file, never more than one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.embedded.byte_range import ByteRange, RangeNotSatisfiable, parse_range

SIZES = st.integers(0, 50)
POSITIONS = st.integers(0, 60) | st.just(10**30)


@given(POSITIONS, POSITIONS, SIZES)
def test_a_range_gives_exactly_the_bytes_that_exist_in_it(first: int, last: int, size: int) -> None:
    wanted = range(size)[first : last + 1]
    value = f"bytes={first}-{last}"
    if last < first:
        assert parse_range(value, size) is None
    elif not wanted:
        with pytest.raises(RangeNotSatisfiable):
            parse_range(value, size)
    else:
        assert parse_range(value, size) == ByteRange(wanted[0], wanted[-1])


@given(st.integers(1, 60), st.integers(1, 50))
def test_a_suffix_gives_the_end_or_all_there_is(length: int, size: int) -> None:
    wanted = range(size)[-length:]
    assert parse_range(f"bytes=-{length}", size) == ByteRange(wanted[0], wanted[-1])


@given(st.text("bytes=0123456789-, \t", max_size=20), SIZES)
def test_whatever_is_asked_for_lies_inside_the_file(value: str, size: int) -> None:
    try:
        part = parse_range(value, size)
    except RangeNotSatisfiable:
        return
    if part is not None:
        assert 0 <= part.first <= part.last < size
        assert part.length == part.last - part.first + 1
        assert re.search(r"\d", value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "items=0-1",
        "bytes=5-2",
        "bytes=0-1,3-4",
        "bytes=0-1, bytes=3-4",
        "bytes = 0-1",
        "bytes=+1-2",
        "bytes=1-2-3",
        "bytes=\u0661-\u0662",
        "bytes=" + "9" * 5000 + "-",
    ],
)
def test_what_is_no_single_byte_range_is_answered_whole(value: str | None) -> None:
    assert parse_range(value, 10) is None


def test_the_end_of_an_empty_file_is_the_whole_of_it() -> None:
    assert parse_range("bytes=-5", 0) is None


@pytest.mark.parametrize("value", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_a_range_beyond_the_end_cannot_be_satisfied(value: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_range(value, 10)
