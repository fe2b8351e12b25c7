"""Every variable that this program reads: its meaning, form, default and tier.

One flat list, by section. Settings, documentation, the example file and the spelling hints
all come from it, so a variable that is not here does not exist.
"""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from backends.contract import BackendKind
from gateway.variables.docker import DockerVariables
from gateway.variables.embedded import EmbeddedVariables
from gateway.variables.file_forms import (
    Folder,
    ReadableFile,
    RenewedSecretFile,
)
from gateway.variables.forms import (
    Bytes,
    Count,
    HttpUrl,
    ListenHost,
    Milliseconds,
    Origins,
    Port,
    PublicBase,
    Seconds,
    Tenant,
    Token,
    Whole,
    Word,
    WorkerCount,
)
from gateway.variables.jwt import JwtVariables
from gateway.variables.knative import KnativeVariables
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
        ListenHost,
        Static(),
        Field(description="The address to listen on: `0.0.0.0` is all of IPv4, `::` IPv6 alone."),
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
