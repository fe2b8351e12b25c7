"""Which texts are accepted as which kind of value."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from gateway.variables.file_forms import ReadableFile
from gateway.variables.forms import (
    Authority,
    EgressHosts,
    HttpUrl,
    ListenHost,
    Milliseconds,
    Origins,
    PublicBase,
    RunnerUrl,
    Tenant,
    Token,
)


def parse(form: Any, text: str) -> object:  # type forms have no type of their own in Python 3.11
    return TypeAdapter(form).validate_python(text)


@pytest.mark.parametrize(
    ("form", "text", "value"),
    [
        (HttpUrl, "http://runner", "http://runner"),
        (HttpUrl, "https://[::1]:8443/base/", "https://[::1]:8443/base"),
        (RunnerUrl, "http://Runner.local/base/", "http://Runner.local/base"),
        (RunnerUrl, "http://runner.default.svc.:8080/a/", "http://runner.default.svc.:8080/a"),
        (PublicBase, "/runner/", "/runner"),
        (PublicBase, "/", "/"),
        (PublicBase, "https://ext.example", "https://ext.example"),
        (Origins, "http://A.example:80, https://b:8443", ("http://a.example", "https://b:8443")),
        (Origins, "https://[::1]:443", ("https://[::1]",)),
        (EgressHosts, ".Example.com api.example.com", ("example.com", "api.example.com")),
        (ListenHost, "fe80::1", "fe80::1"),
        (Authority, "Runner.example:8080", "runner.example:8080"),
        (Tenant, "acme-1.eu_x", "acme-1.eu_x"),
        (Milliseconds, "1", 1),
    ],
)
def test_accepted_and_put_into_one_spelling(form: object, text: str, value: object) -> None:
    assert parse(form, text) == value


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (HttpUrl, "runner:8080"),
        (HttpUrl, "ftp://runner"),
        (HttpUrl, "http://"),
        (HttpUrl, "http://:80"),
        (HttpUrl, "http://runner:0"),
        (HttpUrl, "http://runner:70000"),
        (HttpUrl, "http://user@runner"),
        (HttpUrl, "http://user:pass@runner"),
        (HttpUrl, "http://runner?x"),
        (HttpUrl, "http://runner?"),
        (HttpUrl, "http://runner/#"),
        (HttpUrl, "http://run ner"),
        (HttpUrl, "http://runner\\evil"),
        (HttpUrl, "http://rünner"),
        (HttpUrl, "http://[::1"),
        (RunnerUrl, "http://run!ner"),
        (RunnerUrl, "http://[fe80::1%25eth0]"),
        (RunnerUrl, "http://runner/a//b"),
        (RunnerUrl, "http://runner/a/../b"),
        (RunnerUrl, "http://runner/{a}"),
        (RunnerUrl, "http://runner..svc"),
        (RunnerUrl, "http://run%20ner"),
        (PublicBase, "runner"),
        (PublicBase, "//evil.example"),
        (PublicBase, "/a/../b"),
        (PublicBase, "/a?b"),
        (PublicBase, "/a\\b"),
        (Origins, "*"),
        (Origins, "https://a, *"),
        (Origins, "null"),
        (Origins, "https://a/"),
        (Origins, "https://a/path"),
        (EgressHosts, "*.example.com"),
        (EgressHosts, "https://example.com"),
        (ListenHost, "[::1]"),
        (ListenHost, "127.0.0.1:80"),
        (ListenHost, "-x"),
        (Authority, "host:port"),
        (Authority, "host:0"),
        (Authority, "http://host"),
        (Tenant, "a/b"),
        (Tenant, "a" * 129),
        (Milliseconds, "0"),
        (Milliseconds, "-1"),
        (Milliseconds, "1.0"),
        (Milliseconds, "1_000"),
        (Milliseconds, "\u0661"),
        (Milliseconds, "3600001"),
        (Milliseconds, "9" * 5000),
    ],
)
def test_refused(form: object, text: str) -> None:
    with pytest.raises(ValidationError):
        parse(form, text)


def test_a_pipe_is_refused_without_waiting_for_somebody_to_write(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValidationError, match="pipe"):
        parse(ReadableFile, str(tmp_path / "pipe"))


def test_a_folder_is_not_a_readable_file(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="cannot be read"):
        parse(ReadableFile, str(tmp_path))


@given(st.text(max_size=40))
def test_an_accepted_token_fits_into_one_header_field(text: str) -> None:
    try:
        token = parse(Token, text)
    except ValidationError:
        return
    assert isinstance(token, str)
    assert token.isascii()
    assert token.isprintable()
    assert token == token.strip() != ""


@given(st.text(alphabet="htps:/@?#[]%\\ .a1\t\n", max_size=24).map(lambda tail: f"http://{tail}"))
def test_an_accepted_url_has_a_host_and_nothing_hidden(text: str) -> None:
    try:
        accepted = parse(HttpUrl, text)
    except ValidationError:
        return
    url = urlsplit(str(accepted))
    assert url.hostname
    assert (url.username, url.password, url.query, url.fragment) == (None, None, "", "")
    assert parse(HttpUrl, str(accepted)) == accepted


@given(st.text(max_size=30))
def test_a_refusal_never_repeats_the_text(text: str) -> None:
    hidden = f"hush{text}\x00"
    for form in (HttpUrl, PublicBase, Origins, EgressHosts, Token, Milliseconds, Authority):
        with pytest.raises(ValidationError) as refused:
            parse(form, hidden)
        assert all("hush" not in error["msg"] for error in refused.value.errors())
