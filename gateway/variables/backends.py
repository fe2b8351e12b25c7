"""From variables to what each backend needs to be opened."""

import math
import socket
from pathlib import Path
from typing import Final, assert_never
from urllib.parse import urlsplit

from backends.contract import BackendKind
from backends.files.token import TokenFile
from backends.settings import (
    BackendSettings,
    DockerSettings,
    EmbeddedSettings,
    EngineHints,
    HostApiSettings,
    KnativeSettings,
    KnativeTls,
    ServingApi,
    Timeouts,
)
from gateway.variables.declared import Variables

FIRST_BYTE_MS: Final = 25_000


def backend_settings(values: Variables) -> BackendSettings:
    """The chosen backend. `values` are complete and free of contradictions."""
    match values.runner_backend:
        case BackendKind.KNATIVE:
            return knative_settings(values)
        case BackendKind.DOCKER:
            return docker_settings(values)
        case BackendKind.EMBEDDED | None:
            return embedded_settings(values)
        case _:
            assert_never(values.runner_backend)


def docker_settings(values: Variables) -> DockerSettings:
    """What the docker backend needs, also when another one is chosen."""
    home = _home()
    return DockerSettings(
        host_url=values.runner_docker_host,
        fallback_url=values.runner_base_url,
        project=values.runner_docker_project,
        service=values.runner_docker_service,
        engine=EngineHints(
            docker_host=values.docker_host,
            docker_context=values.docker_context,
            config_dir=values.docker_config or (home and home / ".docker"),
            cert_dir=values.docker_cert_path,
            tls_verify=values.docker_tls_verify is not None,
            runtime_dir=values.xdg_runtime_dir,
            home=home,
            own_container=_own_container(),
        ),
        public_base=values.runner_public_base,
        public_url=values.runner_docker_public_url,
        timeouts=_timeouts(values),
    )


def embedded_settings(values: Variables) -> EmbeddedSettings:
    """What the embedded backend needs, also when another one is chosen."""
    return EmbeddedSettings(
        bundle_dir=values.runner_bundle_dir,
        processes=values.runner_processes,
        public_base=values.runner_public_base,
        memory_mb=values.runner_memory_mb,
        compile_memory_mb=values.runner_compile_memory_mb,
        max_concurrency=values.runner_max_concurrency or 1,
        max_queue=values.runner_max_queue,
        egress_allowlist=values.ext_egress_allowlist,
        host_api=_host_api(values),
        ui_proxy_base_url=values.ui_proxy_base_url,
        ui_proxy_timeout_s=values.ui_proxy_timeout_ms / 1000,
        content_security_policy=values.ext_ui_content_security_policy,
        frame_ancestors=values.ext_ui_frame_ancestors,
        max_asset_bytes=values.ext_static_max_file_bytes,
    )


def knative_settings(values: Variables) -> KnativeSettings:
    """What the knative backend needs, also when another one is chosen."""
    cold_start_ms = values.runner_knative_cold_start_ms
    return KnativeSettings(
        base_url=values.runner_base_url or "",
        public_base=values.runner_public_base,
        timeouts=_timeouts(values),
        token_file=values.runner_knative_token_file,
        token_audience=values.runner_knative_token_audience,
        host=values.runner_knative_host,
        serving=_serving_api(values),
        cold_start_s=None if cold_start_ms is None else cold_start_ms / 1000,
        warm_on_page=values.runner_knative_warm_on_page == "true",
        tls=knative_tls(values),
    )


def application_url(base_url: str) -> str:
    """The host application's address without the "/api" that every path asked of it begins with.

    Deployments write it with and without.

    >>> application_url("http://app/base/api"), application_url("http://api")
    ('http://app/base', 'http://api')
    """
    has_it = urlsplit(base_url).path.endswith("/api")
    return base_url.removesuffix("/api").rstrip("/") if has_it else base_url


def knative_tls(values: Variables) -> KnativeTls:
    """The files for TLS toward the ingress."""
    ca, cert, key = (
        values.runner_knative_ca_file,
        values.runner_knative_client_cert,
        values.runner_knative_client_key,
    )
    return KnativeTls(
        ca_file=ca.path if ca else None,
        client_cert=cert.path if cert else None,
        client_key=key.path if key else None,
        fingerprint=" ".join(each.fingerprint for each in (ca, cert, key) if each),
    )


def _serving_api(values: Variables) -> ServingApi | None:
    if values.runner_knative_namespace is None or values.runner_knative_service is None:
        return None
    return ServingApi(
        namespace=values.runner_knative_namespace,
        service=values.runner_knative_service,
        kubeconfig=values.kubeconfig,
        api_host=values.kubernetes_service_host,
        api_port=values.kubernetes_service_port,
    )


def first_byte_ms(values: Variables) -> int:
    """How long a runner may think before it answers with a UI file."""
    chosen_ms = values.runner_first_byte_timeout_ms
    return chosen_ms or min(FIRST_BYTE_MS, values.ext_gateway_timeout_ms)


def guest_budget_s(values: Variables) -> float:
    """What a handler's own time is a share of: the call's budget, or less where a limit is set."""
    return (
        min(values.ext_gateway_timeout_ms, values.runner_first_byte_timeout_ms or math.inf) / 1000
    )


def _timeouts(values: Variables) -> Timeouts:
    chosen_ms = values.runner_first_byte_timeout_ms
    return Timeouts(
        connect_s=values.runner_connect_timeout_ms / 1000,
        first_byte_s=first_byte_ms(values) / 1000,
        call_first_byte_s=None if chosen_ms is None else chosen_ms / 1000,
        idle_s=values.runner_idle_timeout_ms / 1000,
    )


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # a user that the system does not know, as containers often run
        return None


def _own_container() -> str | None:
    """Engines give a container the short form of its id as host name."""
    inside = any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv"))
    return socket.gethostname() if inside else None


def host_api_token(values: Variables) -> str | TokenFile | None:
    """What the host application's internal API is asked with."""
    return values.runner_storage_api_token or values.runner_service_token_file


def _host_api(values: Variables) -> HostApiSettings | None:
    base_url = values.storage_api_base_url or values.registry_base_url
    token = host_api_token(values)
    if base_url is None or token is None:
        return None
    return HostApiSettings(base_url=application_url(base_url), token=token)
