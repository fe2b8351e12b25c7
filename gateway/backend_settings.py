"""From variables to what each backend needs to be opened."""

from typing import assert_never

from backends.contract import BackendKind
from backends.settings import (
    BackendSettings,
    DockerSettings,
    EmbeddedSettings,
    HostApiSettings,
    KnativeSettings,
    Timeouts,
)
from gateway.variables import Variables


def backend_settings(values: Variables) -> BackendSettings:
    """The chosen backend. `values` are complete and free of contradictions."""
    timeouts = Timeouts(
        connect_s=values.runner_connect_timeout_ms / 1000,
        first_byte_s=(values.runner_first_byte_timeout_ms or 0) / 1000,
        idle_s=values.runner_idle_timeout_ms / 1000,
    )
    base_url = values.runner_base_url or ""
    match values.runner_backend:
        case BackendKind.KNATIVE:
            return KnativeSettings(
                base_url=base_url,
                public_base=values.runner_public_base,
                timeouts=timeouts,
                token_file=values.runner_knative_token_file,
                host=values.runner_knative_host,
            )
        case BackendKind.DOCKER:
            return DockerSettings(
                host_url=values.runner_docker_host or base_url,
                public_base=values.runner_public_base,
                timeouts=timeouts,
            )
        case BackendKind.EMBEDDED | None:
            return embedded_settings(values)
        case _:
            assert_never(values.runner_backend)


def embedded_settings(values: Variables) -> EmbeddedSettings:
    """What the embedded backend needs, also when another one is chosen."""
    return EmbeddedSettings(
        bundle_dir=values.runner_bundle_dir,
        public_base=values.runner_public_base,
        memory_mb=values.runner_memory_mb,
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


def _host_api(values: Variables) -> HostApiSettings | None:
    base_url = values.storage_api_base_url or values.registry_base_url
    token = values.runner_storage_api_token
    if base_url is None or token is None:
        return None
    # Deployments write this address with and without the "/api" that every path begins with.
    return HostApiSettings(base_url=base_url.removesuffix("/api"), token=token)
