"""What no single variable can get wrong: combinations that contradict each other."""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from backends.contract import BackendKind
from backends.docker_engine.address import is_engine_address
from backends.knative_path.tls import client_context
from backends.settings import KnativeTls
from gateway.variables.backends import host_api_token, knative_tls
from gateway.variables.declared import Variables
from gateway.variables.environment import Origin
from gateway.variables.problems import SettingProblem
from middleware.jwt_keys import SHARED

MIN_PROXY_KEY: Final = 16
WELL_KNOWN_KEYS: Final = frozenset(
    {"changeme", "change-me", "default", "local-runner-key", "password", "secret", "test", "token"}
)
_RESTS_ON: Final[Mapping[str, tuple[str, ...]]] = {
    "DOCKER_HOST": ("RUNNER_BASE_URL", "RUNNER_DOCKER_HOST"),
    "GATEWAY_JWT_ALGORITHMS": ("GATEWAY_JWT_KEY_FILE",),
    "GATEWAY_JWT_JWKS_URL": ("GATEWAY_JWT_KEY_FILE",),
    "RUNNER_CONFIG_API_TOKEN": ("RUNNER_STORAGE_API_TOKEN",),
    "RUNNER_FIRST_BYTE_TIMEOUT_MS": ("EXT_GATEWAY_TIMEOUT_MS",),
    "RUNNER_KNATIVE_CLIENT_CERT": ("RUNNER_KNATIVE_CLIENT_KEY",),
    "RUNNER_KNATIVE_COLD_START_MS": ("EXT_GATEWAY_TIMEOUT_MS",),
    "RUNNER_STORAGE_API_TOKEN": ("RUNNER_SERVICE_TOKEN", "RUNNER_SERVICE_TOKEN_FILE"),
}
"""What else rules look at before they blame a variable."""


_OF_MODES: Final[Mapping[str, tuple[str, ...]]] = {
    "proxy": ("GATEWAY_PROXY_KEY",),
    "jwt": (
        "GATEWAY_JWT_ISSUER",
        "GATEWAY_JWT_AUDIENCE",
        "GATEWAY_JWT_JWKS_URL",
        "GATEWAY_JWT_KEY_FILE",
    ),
}
"""What is of no use but in one mode of GATEWAY_AUTH."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on `host`; a name counts if `localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def contradictions(values: Variables, unparsed: Set[str] = frozenset()) -> Iterator[SettingProblem]:
    """Every combination that cannot work, each blamed on the variable to change.

    Args:
        values: with the defaults that depend on other variables.
        unparsed: variables that have their default because their text could not be parsed. What
            they should be is not known, so nothing that rests on them is called wrong.
    """
    return _known(_every(values), unparsed)


def unused(values: Variables, origins: Mapping[str, Origin]) -> Iterator[SettingProblem]:
    """What works, and is hardly meant: secrets of callers that nobody has to show.

    Args:
        origins: where each variable came from; who chose GATEWAY_AUTH knows what counts.
    """
    if origins["GATEWAY_AUTH"] != "default":
        return
    for mode, names in _OF_MODES.items():
        if variable := next((name for name in names if origins[name] != "default"), None):
            yield SettingProblem(
                variable=variable,
                problem="is set, and not asked for: GATEWAY_AUTH is not set, so every caller is"
                f" {values.gateway_dev_tenant!r}",
                fix=f"Set GATEWAY_AUTH={mode}, or GATEWAY_AUTH=dev if that is meant",
            )


def _known(problems: Iterable[SettingProblem], unparsed: Set[str]) -> Iterator[SettingProblem]:
    for problem in problems:
        if unparsed.isdisjoint({problem.variable, *_RESTS_ON.get(problem.variable, ())}):
            yield problem


def _every(values: Variables) -> Iterator[SettingProblem]:
    yield from _runner(values)
    yield from _knative(values)
    yield from _callers(values)
    yield from _files_and_budgets(values)
    yield from _host_application(values)


def _runner(values: Variables) -> Iterator[SettingProblem]:
    if values.runner_backend is BackendKind.KNATIVE and values.runner_base_url is None:
        yield SettingProblem(
            variable="RUNNER_BASE_URL",
            problem="is not set, and the knative backend has no other address",
            fix="Set it to the runner's address, or choose RUNNER_BACKEND=embedded",
        )
    if (
        values.runner_backend is BackendKind.DOCKER
        and (values.runner_docker_host or values.runner_base_url) is None
        and values.docker_host is not None
        and not is_engine_address(values.docker_host)
    ):
        yield SettingProblem(
            variable="DOCKER_HOST",
            problem="names no engine that the docker backend can ask, and nothing else says where"
            " the runner is",
            fix="Write unix:///path or tcp://host:port (of an ssh:// engine forward the socket:"
            " ssh -L), or set RUNNER_DOCKER_HOST",
        )


def _knative(values: Variables) -> Iterator[SettingProblem]:
    for absent, present in (
        ("RUNNER_KNATIVE_NAMESPACE", "RUNNER_KNATIVE_SERVICE"),
        ("RUNNER_KNATIVE_SERVICE", "RUNNER_KNATIVE_NAMESPACE"),
        ("RUNNER_KNATIVE_CLIENT_CERT", "RUNNER_KNATIVE_CLIENT_KEY"),
    ):
        if getattr(values, absent.lower()) is None and getattr(values, present.lower()) is not None:
            yield SettingProblem(
                variable=absent, problem=f"is not set, but {present} is", fix="Set both, or neither"
            )
    cold_start_ms = values.runner_knative_cold_start_ms
    if cold_start_ms is not None and cold_start_ms > values.ext_gateway_timeout_ms:
        yield SettingProblem(
            variable="RUNNER_KNATIVE_COLD_START_MS",
            problem="is more than EXT_GATEWAY_TIMEOUT_MS, the budget of the whole call",
            fix=f"Write at most {values.ext_gateway_timeout_ms}, or raise the whole budget",
        )


def unusable_files(values: Variables, unparsed: Set[str] = frozenset()) -> Iterator[SettingProblem]:
    """The same about what files hold, for whoever has just read their names. Blocking."""
    return _known(_ingress_tls(knative_tls(values)), unparsed)


def _ingress_tls(tls: KnativeTls) -> Iterator[SettingProblem]:
    try:
        client_context(replace(tls, client_cert=None))
    except ValueError:
        yield SettingProblem(
            variable="RUNNER_KNATIVE_CA_FILE",
            problem="names a file that holds no readable PEM certificates",
            fix="Write the certificate of the authority that the ingress's is from",
        )
    try:
        client_context(replace(tls, ca_file=None))
    except ValueError:
        yield SettingProblem(
            variable="RUNNER_KNATIVE_CLIENT_CERT",
            problem="and its key are not PEM, do not fit together, or need a pass phrase",
            fix="Write the certificate there, and its plain key there or into"
            " RUNNER_KNATIVE_CLIENT_KEY",
        )


def _callers(values: Variables) -> Iterator[SettingProblem]:
    if values.gateway_auth == "dev":
        if not is_loopback(values.gateway_host):
            yield SettingProblem(
                variable="GATEWAY_AUTH",
                problem="is 'dev', which trusts every caller, while GATEWAY_HOST is not loopback",
                fix="Set GATEWAY_AUTH=proxy and GATEWAY_PROXY_KEY, or GATEWAY_HOST=127.0.0.1",
            )
        return
    if values.gateway_auth == "jwt":
        yield from _tokens(values)
    key = values.gateway_proxy_key
    if key is None and values.gateway_auth == "proxy":
        yield _weak_key("is not set, and GATEWAY_AUTH=proxy needs it")
    elif key is not None and (len(key) < MIN_PROXY_KEY or key.lower() in WELL_KNOWN_KEYS):
        yield _weak_key(f"is well known or shorter than {MIN_PROXY_KEY} characters")


def _weak_key(fault: str) -> SettingProblem:
    return SettingProblem(
        variable="GATEWAY_PROXY_KEY",
        problem=fault,
        fix="Write at least 16 characters that nobody can guess: openssl rand -hex 32",
    )


def _tokens(values: Variables) -> Iterator[SettingProblem]:
    for name, whose in (
        ("GATEWAY_JWT_ISSUER", "a token of any issuer would count"),
        ("GATEWAY_JWT_AUDIENCE", "a token that was made for another service would count"),
    ):
        if getattr(values, name.lower()) is None:
            yield SettingProblem(
                variable=name,
                problem=f"is not set: without it {whose}",
                fix="Write what the identity provider puts into its tokens",
            )
    url, file = values.gateway_jwt_jwks_url, values.gateway_jwt_key_file
    if (url is None) is (file is None):
        yield SettingProblem(
            variable="GATEWAY_JWT_JWKS_URL",
            problem="and GATEWAY_JWT_KEY_FILE are "
            + ("both unset: no token can be checked" if url is None else "both set"),
            fix="Set one of the two",
        )
    elif url is not None and url.startswith("http:") and not _is_local(url):
        yield SettingProblem(
            variable="GATEWAY_JWT_JWKS_URL",
            problem="is not https: whoever is on the way could put in a key of their own",
            fix="Write an address that begins with https://; loopback may do without",
        )
    if SHARED.intersection(values.gateway_jwt_algorithms) and file is None:
        yield SettingProblem(
            variable="GATEWAY_JWT_ALGORITHMS",
            problem="names HS*, whose key is a shared secret, and no GATEWAY_JWT_KEY_FILE is set",
            fix="Name the algorithms that the issuer signs with, such as RS256",
        )


def _is_local(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")


def _files_and_budgets(values: Variables) -> Iterator[SettingProblem]:
    for absent, present in (
        ("GATEWAY_TLS_CERT", "GATEWAY_TLS_KEY"),
        ("GATEWAY_TLS_KEY", "GATEWAY_TLS_CERT"),
    ):
        if getattr(values, absent.lower()) is None and getattr(values, present.lower()) is not None:
            yield SettingProblem(
                variable=absent,
                problem=f"is not set, but {present} is",
                fix="Set both to serve HTTPS, or neither",
            )
    if values.runner_service_token is not None and values.runner_service_token_file is not None:
        yield SettingProblem(
            variable="RUNNER_SERVICE_TOKEN_FILE",
            problem="is set, and so is RUNNER_SERVICE_TOKEN",
            fix="Keep one of the two",
        )
    first_byte_ms = values.runner_first_byte_timeout_ms
    if first_byte_ms is not None and first_byte_ms > values.ext_gateway_timeout_ms:
        yield SettingProblem(
            variable="RUNNER_FIRST_BYTE_TIMEOUT_MS",
            problem="is more than EXT_GATEWAY_TIMEOUT_MS, the budget of the whole call",
            fix=f"Write at most {values.ext_gateway_timeout_ms}, or raise the whole budget",
        )


def _host_application(values: Variables) -> Iterator[SettingProblem]:
    if values.registry_base_url is not None and values.runner_config_api_token is None:
        yield SettingProblem(
            variable="RUNNER_CONFIG_API_TOKEN",
            problem="is not set, and the registry at REGISTRY_BASE_URL answers nobody without it",
            fix="Write the token that the host application expects, or unset REGISTRY_BASE_URL",
        )
    if values.storage_api_base_url is not None and host_api_token(values) is None:
        yield SettingProblem(
            variable="RUNNER_STORAGE_API_TOKEN",
            problem="is not set, nor RUNNER_SERVICE_TOKEN, and STORAGE_API_BASE_URL needs one",
            fix="Write the token that the host application expects",
        )
