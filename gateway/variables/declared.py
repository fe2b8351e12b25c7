"""Every variable that this program reads: its meaning, form, default and tier.

One flat list, by section. Settings, documentation, the example file and the spelling hints
all come from it, so a variable that is not here does not exist.
"""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from backends.contract import BackendKind
from gateway.variables.docker import DockerVariables
from gateway.variables.file_forms import (
    Folder,
    PemFile,
    ReadableFile,
    RenewedSecretFile,
    SecretFile,
)
from gateway.variables.forms import (
    Authority,
    Bytes,
    Count,
    DnsLabel,
    EgressHosts,
    FieldValue,
    HttpUrl,
    ListenHost,
    Megabytes,
    Milliseconds,
    Origins,
    Port,
    ProcessCount,
    PublicBase,
    QueueLength,
    RunnerUrl,
    Seconds,
    Tenant,
    Threads,
    Token,
    Whole,
    Word,
    WorkerCount,
)
from gateway.variables.jwt import JwtVariables
from gateway.variables.marks import Accepts, Otherwise, Section, Static

DEFAULT_ENV_FILE: Final = ".env"


class RunnerVariables(Section):
    """Every backend"""

    runner_backend: Annotated[
        BackendKind | None,
        Word,
        Accepts("knative, docker or embedded"),
        Otherwise("`knative` when `RUNNER_BASE_URL` is set, else `embedded`"),
        Field(description="How extensions are run."),
    ] = None
    runner_public_base: Annotated[
        PublicBase, Field(description="Where browsers find extension pages.")
    ] = "/runner"
    runner_service_token: Annotated[
        Token | None, Field(repr=False, description="Proves to the runner that the gateway calls.")
    ] = None
    runner_service_token_file: Annotated[
        RenewedSecretFile | None,
        Field(description="The same from a file, read again when it changes."),
    ] = None
    ext_gateway_timeout_ms: Annotated[
        Milliseconds, Field(description="The whole budget of one call.")
    ] = 30_000
    runner_connect_timeout_ms: Annotated[
        Milliseconds, Field(description="How long reaching the runner may take.")
    ] = 2_000
    runner_first_byte_timeout_ms: Annotated[
        Milliseconds | None,
        Otherwise(
            "`25000`, or `EXT_GATEWAY_TIMEOUT_MS` when that is less, for UI files; handlers have "
            "the whole budget of their call"
        ),
        Field(
            description="How long the runner may think before it answers. A handler answers when "
            "it has ended, so its own limit follows what is set here."
        ),
    ] = None
    runner_idle_timeout_ms: Annotated[
        Milliseconds, Field(description="How long an answer under way may pause.")
    ] = 15_000


class KnativeVariables(Section):
    """The knative backend"""

    runner_base_url: Annotated[
        RunnerUrl | None,
        Field(description="The runner's address; required by knative, a fallback for docker."),
    ] = None
    runner_knative_host: Annotated[
        Authority | None,
        Field(description="`Host` and server name, when the base URL is the ingress."),
    ] = None
    runner_knative_token_file: Annotated[
        SecretFile | None, Field(description="Projected token, sent as `Authorization: Bearer`.")
    ] = None
    runner_knative_token_audience: Annotated[
        FieldValue | None,
        Otherwise("any but the Kubernetes API's"),
        Field(description="Whom that token must be for, when it is a JWT."),
    ] = None
    runner_knative_namespace: Annotated[
        DnsLabel | None, Field(description="The namespace of the runner's Knative service.")
    ] = None
    runner_knative_service: Annotated[
        DnsLabel | None,
        Field(description="Its name: the Serving API is read for its address and state."),
    ] = None
    runner_knative_cold_start_ms: Annotated[
        Milliseconds | None,
        Otherwise("none: whoever meets no runner is told at once"),
        Field(description="How long a call may wait for a runner to start."),
    ] = None
    runner_knative_warm_on_page: Annotated[
        Literal["true", "false"],
        Word,
        Accepts("true or false"),
        Field(description="Whether fetching an extension's page warms its handler."),
    ] = "false"
    runner_knative_ca_file: Annotated[
        PemFile | None,
        Otherwise("the system's authorities"),
        Field(description="Authorities that the ingress's certificate may come from, PEM."),
    ] = None
    runner_knative_client_cert: Annotated[
        PemFile | None, Field(description="Certificate shown to the ingress, PEM.")
    ] = None
    runner_knative_client_key: Annotated[
        PemFile | None, Field(description="Its private key, PEM.")
    ] = None
    kubeconfig: Annotated[
        str | None,
        Accepts("names of files, as kubectl reads them"),
        Otherwise("the pod's own service account"),
        Field(description="Files that say how to reach the Serving API from outside the cluster."),
    ] = None
    kubernetes_service_host: Annotated[
        FieldValue | None, Field(description="The Kubernetes API; set in every pod.")
    ] = None
    kubernetes_service_port: Annotated[
        FieldValue | None, Field(description="Its port; set in every pod.")
    ] = None


class EmbeddedVariables(Section):
    """The embedded backend, and the `runner` verb"""

    runner_bundle_dir: Annotated[
        Folder,
        Field(
            description="Where bundles and their files live; also what extensions store, unless"
            " the host application keeps it."
        ),
    ] = Path(".gateway/bundles")
    runner_memory_mb: Annotated[
        Megabytes,
        Field(
            description="The limit of each linear memory of an extension's call. It has one or two"
            " as a rule, and at most four."
        ),
    ] = 256
    runner_max_concurrency: Annotated[
        Threads | None,
        Otherwise("one for each core it may use"),
        Field(description="How many calls run at once, shared out among workers."),
    ] = None
    runner_max_queue: Annotated[
        QueueLength,
        Field(description="How many calls may wait for their turn, shared out among workers."),
    ] = 64
    runner_processes: Annotated[
        ProcessCount,
        Field(
            description="How many processes of its own run extensions, shared out among workers;"
            " 0: the gateway's own process runs them."
        ),
    ] = 0
    ext_egress_allowlist: Annotated[
        EgressHosts,
        Otherwise("none: every request is denied"),
        Field(description="Hosts that extensions may fetch from, with their subdomains."),
    ] = ()
    ext_ui_content_security_policy: Annotated[
        FieldValue | None, Field(description="Replaces the default policy of UI pages.")
    ] = None
    ext_ui_frame_ancestors: Annotated[
        FieldValue | None, Field(description="Who may frame UI pages, added to the default policy.")
    ] = None
    ext_static_max_file_bytes: Annotated[
        Bytes | None,
        Otherwise("no limit"),
        Field(description="The largest UI file that is served."),
    ] = None
    ui_proxy_base_url: Annotated[
        HttpUrl | None, Field(description="Where the capability `cap:ui.proxy` leads.")
    ] = None
    ui_proxy_timeout_ms: Annotated[
        Milliseconds, Field(description="The budget of one such call.")
    ] = 5_000
    storage_api_base_url: Annotated[
        HttpUrl | None,
        Otherwise("`REGISTRY_BASE_URL`"),
        Field(
            description="The host application's internal API, with or without the `/api` of its"
            " paths: its data for extensions, and what they store."
        ),
    ] = None
    runner_storage_api_token: Annotated[
        Token | None,
        Otherwise("`RUNNER_SERVICE_TOKEN`, or its file's"),
        Field(repr=False, description="Proves to that API that a runner calls."),
    ] = None
    port: Annotated[
        Port, Static(), Field(description="Where the `runner` verb listens; `serve` ignores it.")
    ] = 8080


class ListenVariables(Section):
    """Listening"""

    gateway_env_file: Annotated[
        Path | None,
        Static(),
        Accepts("a file that can be read; from the process environment only"),
        Otherwise(f"`{DEFAULT_ENV_FILE}`, when there is one"),
        Field(description="NAME=value lines, read again on reload."),
    ] = None
    gateway_host: Annotated[
        ListenHost, Static(), Field(description="The address to listen on.")
    ] = "127.0.0.1"
    gateway_port: Annotated[Port, Static(), Field(description="The port to listen on.")] = 8787
    gateway_workers: Annotated[
        WorkerCount,
        Static(),
        Field(description="Processes that serve; more than one have a supervisor."),
    ] = 1
    gateway_tls_cert: Annotated[
        ReadableFile | None, Static(), Field(description="Certificate chain, PEM.")
    ] = None
    gateway_tls_key: Annotated[
        ReadableFile | None, Static(), Field(description="Its private key, PEM.")
    ] = None
    gateway_header_timeout_ms: Annotated[
        Milliseconds, Static(), Field(description="How long a client may take to send its header.")
    ] = 15_000
    gateway_body_idle_timeout_ms: Annotated[
        Milliseconds,
        Static(),
        Field(
            description="How long a client may pause: sending a body, or reading an answer. That it"
            " reads is seen in steps of about 100 KiB only: who takes longer than this for one is"
            " cut off."
        ),
    ] = 15_000
    gateway_keepalive_timeout_ms: Annotated[
        Milliseconds, Static(), Field(description="How long an idle client connection is kept.")
    ] = 75_000


class GatewayVariables(Section):
    """Callers, limits and logs"""

    gateway_auth: Annotated[
        Literal["dev", "proxy", "jwt"],
        Word,
        Accepts(
            "dev (one tenant, loopback only), proxy (a key shared with the app) or jwt (tokens of"
            " an identity provider)"
        ),
        Field(description="How callers are told apart."),
    ] = "dev"
    gateway_dev_tenant: Annotated[
        Tenant, Field(description="The tenant of every caller in `dev` mode.")
    ] = "dev"
    gateway_proxy_key: Annotated[
        Token | None,
        Accepts("at least 16 visible ASCII characters that nobody can guess"),
        Field(
            repr=False,
            description="The key that the app sends in `proxy` mode. In `jwt` mode it signs page"
            " addresses: gateways that stand in for each other share it.",
        ),
    ] = None
    gateway_admin_token: Annotated[
        Token | None,
        Otherwise("none: only loopback callers of a loopback listener are operators"),
        Field(repr=False, description="Proves that an operator calls."),
    ] = None
    gateway_max_body_bytes: Annotated[
        Bytes, Field(description="The largest request body that is taken.")
    ] = 10_485_760
    gateway_max_in_flight: Annotated[
        Count,
        Field(description="Requests at once, shared out among workers; more are refused with 503."),
    ] = 1024
    gateway_drain_seconds: Annotated[
        Seconds, Field(description="How long a replaced backend, or a stop, waits for its calls.")
    ] = 30
    gateway_probe_interval_ms: Annotated[
        Milliseconds, Field(description="How often the backend's health is asked for.")
    ] = 5_000
    gateway_env_watch_ms: Annotated[
        Whole,
        Static(),
        Accepts("milliseconds, 0 to 3600000"),
        Field(
            le=3_600_000,
            description="How often the env file is looked at; a change that stays until the next "
            "look is taken over as by SIGHUP. 0: never.",
        ),
    ] = 0
    gateway_asset_cache_mb: Annotated[
        Whole,
        Accepts("whole MiB, 0 to 65536"),
        Field(
            le=65_536,
            description="The memory that kept UI files may use in each worker; 0 keeps none.",
        ),
    ] = 128
    gateway_asset_cache_dir: Annotated[
        Folder | None,
        Otherwise("none: memory only"),
        Field(
            description="Where UI files are kept besides, up to eight times as much; "
            "gateways may share it."
        ),
    ] = None
    gateway_log_format: Annotated[
        Literal["json", "console"] | None,
        Word,
        Accepts("json or console"),
        Otherwise("`console` on a terminal, else `json`"),
        Field(description="How log lines look."),
    ] = None
    gateway_log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Word,
        Accepts("debug, info, warning or error"),
        Field(description="The least severe event that is logged."),
    ] = "info"
    ext_ui_sandbox: Annotated[
        Literal["true", "false"],
        Word,
        Accepts("true or false"),
        Field(description="Whether UI pages lose the origin they share with the app."),
    ] = "false"
    ext_ui_reload: Annotated[
        Literal["true", "false"],
        Word,
        Accepts("true or false"),
        Field(description="Whether open UI pages reload when their extension is installed anew."),
    ] = "false"
    ext_gateway_allowed_origins: Annotated[
        Origins, Otherwise("none"), Field(description="Sites whose scripts may read answers.")
    ] = ()


class InstallVariables(Section):
    """Installs"""

    registry_base_url: Annotated[
        HttpUrl | None,
        Otherwise("none: installs come from the bundle folder"),
        Field(
            description="The host application, asked what a tenant's extension id means; with"
            " or without the `/api` of its paths."
        ),
    ] = None
    runner_config_api_token: Annotated[
        Token | None,
        Otherwise("`RUNNER_STORAGE_API_TOKEN`"),
        Field(repr=False, description="Proves to it that the gateway asks."),
    ] = None


class Variables(
    InstallVariables,
    JwtVariables,
    GatewayVariables,
    ListenVariables,
    EmbeddedVariables,
    DockerVariables,
    KnativeVariables,
    RunnerVariables,
):
    """The value of every variable, parsed. The bases stand in reverse: fields keep their order."""
