"""A base URL is understood completely, or refused without being repeated."""

import pytest

from backends.upstream.address import RunnerAddress


@pytest.mark.parametrize(
    ("base_url", "origin", "base_path"),
    [
        ("http://runner", "http://runner", ""),
        ("http://runner:8080/", "http://runner:8080", ""),
        (" https://Runner.Example:443/a/b// ", "https://runner.example", "/a/b"),
        ("http://[::1]:8080/x", "http://[::1]:8080", "/x"),
        ("http://10.0.0.1:80", "http://10.0.0.1", ""),
        ("http://runner.default.svc.:8080", "http://runner.default.svc.:8080", ""),
        ("http://runner/a%20b", "http://runner", "/a%20b"),
    ],
)
def test_a_base_url_is_split_into_origin_and_path(
    base_url: str, origin: str, base_path: str
) -> None:
    assert RunnerAddress.parse(base_url) == RunnerAddress(origin, base_path)


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "runner:8080",
        "ftp://runner",
        "http://",
        "http:///path",
        "http://user:s3cret@runner",
        "http://s3cret@runner",
        "http://runner?token=s3cret",
        "http://runner#s3cret",
        "http://runner:port",
        "http://runner:99999",
        "http://run ner",
        "http://runner/a b",
        "http://runner/a/../s3cret",
        "http://runner/\r\nx: y",
        "http://rünner",
        "http://runner..svc",
        "http://.runner",
        f"http://{'r' * 64}.svc",
    ],
)
def test_anything_else_is_refused_without_being_repeated(base_url: str) -> None:
    with pytest.raises(ValueError, match="the runner's base URL") as caught:
        RunnerAddress.parse(base_url)
    assert "s3cret" not in str(caught.value)


def test_an_address_knows_its_parts() -> None:
    address = RunnerAddress.parse("https://[::1]:8443/base")
    assert (address.scheme, address.authority, address.hostname) == ("https", "[::1]:8443", "::1")
    assert address.url == "https://[::1]:8443/base"
