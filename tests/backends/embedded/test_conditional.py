"""Preconditions: weak where caches may weaken, strong where bytes are joined."""

import pytest

from backends.embedded.conditional import client_has, range_still_counts

TAG = '"sha256-ab"'


@pytest.mark.parametrize(
    "value", [TAG, f"W/{TAG}", f'"other", {TAG}', f'W/"other",W/{TAG}', "*", " * ", f'"a,b",{TAG}']
)
def test_a_client_that_names_the_tag_has_the_file(value: str) -> None:
    assert client_has(value, TAG)


@pytest.mark.parametrize(
    "value", [None, "", '"other"', "sha256-ab", '"sha256-a"', '"x,sha256-ab"', 'w/"other"', '"*"']
)
def test_a_client_that_names_another_tag_does_not(value: str | None) -> None:
    assert not client_has(value, TAG)


@pytest.mark.parametrize("value", [None, TAG, f" {TAG} "])
def test_a_range_counts_when_the_file_is_still_the_same(value: str | None) -> None:
    assert range_still_counts(value, TAG)


@pytest.mark.parametrize("value", ["", f"W/{TAG}", '"other"', "Sat, 29 Oct 1994 19:43:31 GMT", "*"])
def test_a_range_does_not_count_when_it_may_be_another_file(value: str) -> None:
    assert not range_still_counts(value, TAG)
