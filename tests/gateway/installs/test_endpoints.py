"""Which declared endpoint a request means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.bundles.manifest import Endpoint
from gateway.installs.endpoints import match, methods_for


def declared(*lines: str) -> list[Endpoint]:
    pairs = (line.split(" ", 1) for line in lines)
    return [Endpoint(method=method, path=path, handler="h") for method, path in pairs]


ITEMS = declared("GET /", "GET /items/all", "GET /items/:id", "PUT /items/:id", "DELETE /a/b")


@pytest.mark.parametrize(
    ("method", "path", "template"),
    [
        ("GET", "/", "/"),
        ("GET", "", "/"),
        ("get", "/items/7", "/items/:id"),
        ("GET", "/items/all", "/items/all"),
        ("PUT", "/items/all", "/items/:id"),
        ("GET", "items/7/", "/items/:id"),
        ("GET", "//items/7//", "/items/:id"),
        ("HEAD", "/items/7", "/items/:id"),
        ("GET", "/items/caf\u00e9", "/items/:id"),
    ],
)
def test_the_first_endpoint_that_covers_the_request_answers(
    method: str, path: str, template: str
) -> None:
    found = match(ITEMS, method, path)
    assert found is not None
    assert found.path == template


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/items"),
        ("GET", "/items/7/parts"),
        ("GET", "/Items/7"),
        ("GET", "/items//7"),
        ("POST", "/items/7"),
        ("HEAD", "/a/b"),
        ("OPTIONS", "/items/7"),
    ],
)
def test_what_is_not_declared_is_not_found(method: str, path: str) -> None:
    assert match(ITEMS, method, path) is None


def test_a_placeholder_stands_for_no_empty_segment() -> None:
    assert match(declared("GET /a/:x/b"), "GET", "/a//b") is None


def test_a_declared_head_does_not_answer_a_get() -> None:
    endpoints = declared("HEAD /a")
    assert match(endpoints, "HEAD", "/a") is not None
    assert match(endpoints, "GET", "/a") is None


def test_allow_names_every_method_of_the_path_and_head_with_get() -> None:
    assert methods_for(ITEMS, "/items/7") == {"GET", "HEAD", "PUT"}
    assert methods_for(ITEMS, "/a/b") == {"DELETE"}
    assert methods_for(ITEMS, "/nowhere") == frozenset()


@given(st.text(":/ab ", max_size=8), st.sampled_from(["GET", "HEAD", "PUT", "DELETE", "POST"]))
def test_a_method_matches_exactly_where_allow_names_it(path: str, method: str) -> None:
    found = match(ITEMS, method, path) is not None
    assert found == (method in methods_for(ITEMS, path))
