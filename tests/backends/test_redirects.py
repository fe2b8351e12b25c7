"""A redirect leads to UI files of the same runner, or nowhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import RunnerProtocolError
from backends.redirects import rewrite_location

RUNNER = "http://runner:8080/base"
TARGET = "/base/ext-ui/e/h/page/"


def rewrite(location: str, query: str = "", public_base: str = "/runner") -> str:
    return rewrite_location(
        location, runner_url=RUNNER, target=TARGET, public_base=public_base, query=query
    )


@pytest.mark.parametrize(
    ("location", "rewritten"),
    [
        ("/ext-ui/e/h/index.html", "/runner/ext-ui/e/h/index.html"),
        ("/base/ext-ui/e/h/index.html", "/runner/ext-ui/e/h/index.html"),
        ("http://runner:8080/ext-ui/e/h/", "/runner/ext-ui/e/h/"),
        ("//runner:8080/base/ext-ui/e/h/", "/runner/ext-ui/e/h/"),
        ("other.html", "/runner/ext-ui/e/h/page/other.html"),
        ("../up.html#part", "/runner/ext-ui/e/h/up.html#part"),
        ("?a=1", "/runner/ext-ui/e/h/page/?a=1"),
        ("/ext-ui/e/h/a%20b?x=%2F", "/runner/ext-ui/e/h/a%20b?x=%2F"),
    ],
)
def test_ui_files_of_the_runner_move_under_the_public_base(location: str, rewritten: str) -> None:
    assert rewrite(location) == rewritten


def test_an_absolute_public_base_is_put_in_front() -> None:
    moved = rewrite("/ext-ui/e/h/", public_base="https://ui.example/runner/")
    assert moved == "https://ui.example/runner/ext-ui/e/h/"


@pytest.mark.parametrize(
    "location",
    [
        "",
        "/",
        "/healthz",
        "/v1/execute",
        "https://runner:8080/ext-ui/e/h/",
        "http://runner/ext-ui/e/h/",
        "http://evil.example/ext-ui/e/h/",
        "//evil.example/ext-ui/e/h/",
        "\\\\evil.example\\ext-ui\\",
        "http://runner:8080@evil.example/ext-ui/",
        "http://user@runner:8080/ext-ui/e/h/",
        "http://[/ext-ui/",
        "javascript:alert(1)",
        "/ext-ui/../../healthz",
        "/ext-ui/%2e%2e/%2e%2e/healthz",
        "/ext-ui/..%2f..%2fhealthz",
        "/ext-ui/e/h/\r\nset-cookie: a=b",
        "/ext-ui/é",
        "../../../../../../healthz",
    ],
)
def test_everything_else_is_a_fault_of_the_runner(location: str) -> None:
    with pytest.raises(RunnerProtocolError, match="redirect_off_origin"):
        rewrite(location)


@pytest.mark.parametrize(
    ("location", "query", "rewritten"),
    [
        ("/ext-ui/e/h/", "parentOrigin=https%3A%2F%2Fa&_h=1", "?parentOrigin=https%3A%2F%2Fa&_h=1"),
        ("/ext-ui/e/h/?tenant=t", "tenant=x&_h=1", "?tenant=t&_h=1"),
        ("/ext-ui/e/h/?_h=2", "%5fh=1", "?_h=2"),
        ("/ext-ui/e/h/?a=1&&a=2", "b", "?a=1&a=2&b"),
    ],
)
def test_the_callers_parameters_stay_unless_the_redirect_names_them(
    location: str, query: str, rewritten: str
) -> None:
    assert rewrite(location, query) == f"/runner/ext-ui/e/h/{rewritten}"


@given(st.text(alphabet="/\\.%2eEfF5cC:@?#aehttp[]-ui ", max_size=40))
def test_no_location_ever_leads_off_the_ui_files(location: str) -> None:
    try:
        rewritten = rewrite(location)
    except RunnerProtocolError:
        return
    path = rewritten.partition("#")[0].partition("?")[0]
    assert path.startswith("/runner/ext-ui/")
    assert ".." not in path.replace("%2e", ".").replace("%2E", ".").split("/")
