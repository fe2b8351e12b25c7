"""Combinations that cannot work, each blamed on the variable to change."""

from pathlib import Path

import pytest

from gateway.settings import SettingsError, load
from gateway.variables.rules import is_loopback

KEY = "c0ffee-c0ffee-c0ffee"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a developer's own .env must not decide a test
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("PEM")
    (tmp_path / "token").write_text("token-from-a-file\n")
    (tmp_path / "two-lines").write_text("one\ntwo\n")
    (tmp_path / "empty").write_text("")
    (tmp_path / "huge").write_text("x" + " " * 70_000)


def blamed(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        load(environ)
    return [bad.variable for bad in refused.value.problems]


JWT = {
    "GATEWAY_AUTH": "jwt",
    "GATEWAY_JWT_ISSUER": "https://id.example",
    "GATEWAY_JWT_AUDIENCE": "gateway",
    "GATEWAY_JWT_JWKS_URL": "https://id.example/keys",
}


@pytest.mark.parametrize(
    ("environ", "variable"),
    [
        ({"RUNNER_BACKEND": "knative"}, "RUNNER_BASE_URL"),
        ({"RUNNER_BACKEND": "docker", "DOCKER_HOST": "ssh://me@host"}, "DOCKER_HOST"),
        ({"RUNNER_BACKEND": "docker", "DOCKER_HOST": "npipe:////./pipe/docker"}, "DOCKER_HOST"),
        ({"RUNNER_BACKEND": "docker", "DOCKER_HOST": "/var/run/docker.sock"}, "DOCKER_HOST"),
        ({"GATEWAY_HOST": "0.0.0.0"}, "GATEWAY_AUTH"),
        ({"GATEWAY_HOST": "::", "GATEWAY_AUTH": "dev"}, "GATEWAY_AUTH"),
        ({**JWT, "GATEWAY_JWT_ISSUER": ""}, "GATEWAY_JWT_ISSUER"),
        ({**JWT, "GATEWAY_JWT_AUDIENCE": ""}, "GATEWAY_JWT_AUDIENCE"),
        ({**JWT, "GATEWAY_JWT_JWKS_URL": ""}, "GATEWAY_JWT_JWKS_URL"),
        ({**JWT, "GATEWAY_JWT_JWKS_URL": "http://id.example/keys"}, "GATEWAY_JWT_JWKS_URL"),
        ({**JWT, "GATEWAY_JWT_KEY_FILE": "empty"}, "GATEWAY_JWT_KEY_FILE"),
        ({**JWT, "GATEWAY_JWT_ALGORITHMS": "RS256 HS256"}, "GATEWAY_JWT_ALGORITHMS"),
        ({**JWT, "GATEWAY_JWT_ALGORITHMS": "none"}, "GATEWAY_JWT_ALGORITHMS"),
        ({**JWT, "GATEWAY_JWT_ALGORITHMS": ","}, "GATEWAY_JWT_ALGORITHMS"),
        ({**JWT, "GATEWAY_JWT_LEEWAY_SECONDS": "301"}, "GATEWAY_JWT_LEEWAY_SECONDS"),
        ({**JWT, "GATEWAY_PROXY_KEY": "too-short"}, "GATEWAY_PROXY_KEY"),
        ({"GATEWAY_AUTH": "proxy"}, "GATEWAY_PROXY_KEY"),
        ({"GATEWAY_AUTH": "proxy", "GATEWAY_PROXY_KEY": "x" * 15}, "GATEWAY_PROXY_KEY"),
        (
            {"GATEWAY_AUTH": "proxy", "GATEWAY_PROXY_KEY": "Local-Runner-Key"},
            "GATEWAY_PROXY_KEY",
        ),
        ({"GATEWAY_TLS_CERT": "cert.pem"}, "GATEWAY_TLS_KEY"),
        ({"GATEWAY_TLS_KEY": "key.pem"}, "GATEWAY_TLS_CERT"),
        ({"GATEWAY_TLS_KEY": "no-such-file", "GATEWAY_TLS_CERT": "cert.pem"}, "GATEWAY_TLS_KEY"),
        (
            {"RUNNER_SERVICE_TOKEN": "x", "RUNNER_SERVICE_TOKEN_FILE": "token"},
            "RUNNER_SERVICE_TOKEN_FILE",
        ),
        ({"RUNNER_SERVICE_TOKEN_FILE": "two-lines"}, "RUNNER_SERVICE_TOKEN_FILE"),
        ({"RUNNER_SERVICE_TOKEN_FILE": "empty"}, "RUNNER_SERVICE_TOKEN_FILE"),
        ({"RUNNER_SERVICE_TOKEN_FILE": "huge"}, "RUNNER_SERVICE_TOKEN_FILE"),
        ({"RUNNER_FIRST_BYTE_TIMEOUT_MS": "30001"}, "RUNNER_FIRST_BYTE_TIMEOUT_MS"),
        ({"REGISTRY_BASE_URL": "http://app"}, "RUNNER_CONFIG_API_TOKEN"),
        ({"STORAGE_API_BASE_URL": "http://app"}, "RUNNER_STORAGE_API_TOKEN"),
        ({"GATEWAY_WORKERS": "0"}, "GATEWAY_WORKERS"),
        ({"GATEWAY_WORKERS": "65"}, "GATEWAY_WORKERS"),
        ({"GATEWAY_WORKERS": "many"}, "GATEWAY_WORKERS"),
    ],
)
def test_a_contradiction_is_blamed_on_the_variable_to_change(
    environ: dict[str, str], variable: str
) -> None:
    assert blamed(environ) == [variable]


@pytest.mark.parametrize(
    "environ",
    [
        {"RUNNER_BACKEND": "docker"},
        {"RUNNER_BACKEND": "docker", "RUNNER_DOCKER_HOST": "http://127.0.0.1:8085"},
        {"RUNNER_BACKEND": "docker", "DOCKER_HOST": "tcp://127.0.0.1:2375"},
        {"RUNNER_BACKEND": "docker", "DOCKER_HOST": "ssh://a", "RUNNER_DOCKER_HOST": "http://b"},
        {"RUNNER_BACKEND": "docker", "DOCKER_HOST": "ssh://a", "RUNNER_BASE_URL": "http://b"},
        {"DOCKER_HOST": "ssh://me@host"},
        {"KUBECONFIG": "/srv/jürgen/.kube/config"},
        {"RUNNER_BACKEND": "embedded", "RUNNER_BASE_URL": "http://unused"},
        {"GATEWAY_HOST": "localhost"},
        {"GATEWAY_HOST": "::1"},
        {"GATEWAY_HOST": "127.9.9.9"},
        {"GATEWAY_AUTH": "PROXY", "GATEWAY_PROXY_KEY": KEY, "GATEWAY_HOST": "::"},
        {"GATEWAY_TLS_CERT": "cert.pem", "GATEWAY_TLS_KEY": "key.pem"},
        {"RUNNER_SERVICE_TOKEN_FILE": "token"},
        {"RUNNER_FIRST_BYTE_TIMEOUT_MS": "30000"},
        {"GATEWAY_WORKERS": "1"},
        {"GATEWAY_WORKERS": "64"},
        {"GATEWAY_WORKERS": "Auto"},
        {"STORAGE_API_BASE_URL": "http://app", "RUNNER_SERVICE_TOKEN": "x"},
    ],
)
def test_what_can_work_is_accepted(environ: dict[str, str]) -> None:
    load(environ)


@pytest.mark.parametrize(
    ("environ", "variables"),
    [
        ({"GATEWAY_PROXY_KEY": KEY}, ["GATEWAY_PROXY_KEY"]),
        ({"GATEWAY_JWT_AUDIENCE": "gateway"}, ["GATEWAY_JWT_AUDIENCE"]),
        ({**JWT, "GATEWAY_AUTH": ""}, ["GATEWAY_JWT_ISSUER"]),
        ({"GATEWAY_PROXY_KEY": KEY, "GATEWAY_AUTH": "dev"}, []),
        (JWT, []),
        ({"GATEWAY_JWT_LEEWAY_SECONDS": "1"}, []),
    ],
)
def test_what_callers_would_have_to_show_if_auth_were_set_is_called_unused(
    environ: dict[str, str], variables: list[str]
) -> None:
    assert [one.variable for one in load(environ).unused] == variables


def test_a_combination_is_still_checked_beside_a_bad_value() -> None:
    assert blamed({"GATEWAY_PORT": "x", "RUNNER_BACKEND": "knative"}) == [
        "GATEWAY_PORT",
        "RUNNER_BASE_URL",
    ]


@pytest.mark.parametrize(
    ("environ", "variable"),
    [
        (
            {"RUNNER_KNATIVE_CLIENT_CERT": "cert.pem", "RUNNER_KNATIVE_CLIENT_KEY": "no-such-file"},
            "RUNNER_KNATIVE_CLIENT_KEY",
        ),
        (
            {
                **JWT,
                "GATEWAY_JWT_JWKS_URL": "",
                "GATEWAY_JWT_KEY_FILE": "empty",
                "GATEWAY_JWT_ALGORITHMS": "HS256",
            },
            "GATEWAY_JWT_KEY_FILE",
        ),
        (
            {"RUNNER_BACKEND": "docker", "DOCKER_HOST": "ssh://a", "RUNNER_DOCKER_HOST": "b"},
            "RUNNER_DOCKER_HOST",
        ),
        (
            {"EXT_GATEWAY_TIMEOUT_MS": "60s", "RUNNER_FIRST_BYTE_TIMEOUT_MS": "50000"},
            "EXT_GATEWAY_TIMEOUT_MS",
        ),
        (
            {"EXT_GATEWAY_TIMEOUT_MS": "60s", "RUNNER_KNATIVE_COLD_START_MS": "50000"},
            "EXT_GATEWAY_TIMEOUT_MS",
        ),
        (
            {"REGISTRY_BASE_URL": "http://app", "RUNNER_STORAGE_API_TOKEN": "two words"},
            "RUNNER_STORAGE_API_TOKEN",
        ),
        (
            {"STORAGE_API_BASE_URL": "http://app", "RUNNER_SERVICE_TOKEN": "two words"},
            "RUNNER_SERVICE_TOKEN",
        ),
        (
            {"STORAGE_API_BASE_URL": "http://app", "RUNNER_SERVICE_TOKEN_FILE": "empty"},
            "RUNNER_SERVICE_TOKEN_FILE",
        ),
    ],
)
def test_what_rests_on_a_bad_value_is_not_blamed_beside_it(
    environ: dict[str, str], variable: str
) -> None:
    assert blamed(environ) == [variable]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST"])
def test_only_this_machine_reaches_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "localhost.example", "127.example"])
def test_anything_else_may_be_reached_from_elsewhere(host: str) -> None:
    assert not is_loopback(host)
