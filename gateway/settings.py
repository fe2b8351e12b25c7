"""What this program was told, parsed once: frozen, typed, and complete.

`load` reads the process environment and the env file, and refuses with every problem at
once. Nothing else in the program looks at the environment.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from backends.files.token import TokenFile
from backends.settings import BackendSettings, EmbeddedSettings
from gateway.variables.backends import (
    application_url,
    backend_settings,
    embedded_settings,
    first_byte_ms,
    guest_budget_s,
    host_api_token,
)
from gateway.variables.cores import usable_cores
from gateway.variables.declared import Variables
from gateway.variables.environment import Origin, Sources, read_sources
from gateway.variables.forms import MAX_WORKERS
from gateway.variables.jwt import AuthSettings, JwtSettings
from gateway.variables.parsing import parse, with_defaults
from gateway.variables.problems import SettingProblem, SettingsError
from gateway.variables.rules import contradictions, is_loopback, unusable_files, unused
from gateway.variables.table import VARIABLES
from middleware.caller import DevAuth, ProxyAuth

__all__ = [
    "DirectoryInstallsSettings",
    "EffectiveRow",
    "Listen",
    "RegistryInstallsSettings",
    "SettingProblem",
    "Settings",
    "SettingsError",
    "changed",
    "effective",
    "load",
    "on_loopback",
    "restart_needed",
    "with_static_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where and how clients are served; fixed at start."""

    host: str
    port: int  # 0: any free port
    tls_cert: Path | None = None
    tls_key: Path | None = None
    header_timeout_s: float = 15.0
    body_idle_s: float = 15.0
    keepalive_s: float = 75.0
    workers: int = 1  # processes that serve
    said_by: tuple[str, str] = ("GATEWAY_HOST", "GATEWAY_PORT")  # what to change

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback(self.host)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryInstallsSettings:
    """Installs are what the bundle folder's index says."""

    bundle_dir: Path
    tenant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryInstallsSettings:
    """Installs are what the host application says."""

    base_url: str
    token: str = field(repr=False)
    bundle_dir: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the gateway was told. Equal settings behave alike."""

    listen: Listen
    backend: BackendSettings
    embedded: EmbeddedSettings  # what the `runner` verb serves, whichever backend is chosen
    runner_port: int
    service_token: str | TokenFile | None = field(repr=False)
    public_base: str
    timeout_s: float
    guest_budget_s: float  # what a handler's own limit is a share of; at most timeout_s
    auth: AuthSettings
    admin_token: str | None = field(repr=False)
    max_body_bytes: int
    max_in_flight: int
    asset_cache_bytes: int  # in memory; 0: off
    asset_cache_dir: Path | None
    drain_s: float
    log_format: Literal["json", "console"]
    log_level: Literal["debug", "info", "warning", "error"]
    allowed_origins: frozenset[str]
    ui_sandbox: bool
    ui_reload: bool
    ui_frame_ancestors: str | None
    installs: DirectoryInstallsSettings | RegistryInstallsSettings
    probe_interval_s: float
    env_watch_s: float  # 0: never
    env_file: Path | None  # the file that was read, if there is one
    origins: Mapping[str, Origin] = field(repr=False)
    pinned: tuple[str, ...]  # set by the process environment; the file says something else
    unread: tuple[str, ...]  # named like ours, read by nobody
    unused: tuple[SettingProblem, ...]  # read, and of no effect, which is hardly meant
    variables: Variables = field(repr=False)  # the values that all of the above came from
    secrets: frozenset[str] = field(repr=False)  # every value that nobody may be shown

    @property
    def secrets_now(self) -> frozenset[str]:
        """`secrets`, and the service token's file as it was read last."""
        file = self.variables.runner_service_token_file
        return self.secrets if file is None else self.secrets | file.lately


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveRow:
    """One variable as it counts now; fit to be shown."""

    variable: str
    value: str  # "" when absent, "(set)" for a secret
    origin: Origin
    tier: Literal["static", "dynamic"]


def load(environ: Mapping[str, str], *, on_terminal: bool | None = None) -> Settings:
    """Read and check everything.

    Args:
        environ: the process environment.
        on_terminal: whether logs go to a terminal, which decides their default look;
            None asks standard error.

    Raises:
        SettingsError: with every bad variable and combination at once.
    """
    sources = read_sources(environ)
    values, problems = parse(sources.texts)
    if on_terminal is None:
        on_terminal = sys.stderr.isatty()
    values = with_defaults(values, on_terminal=on_terminal)
    unparsed = {problem.variable for problem in problems}
    problems += contradictions(values, unparsed)
    problems += unusable_files(values, unparsed)
    if sources.problems or problems:
        raise SettingsError((*sources.problems, *problems), sources.pinned)
    return _assemble(values, sources)


def effective(settings: Settings) -> list[EffectiveRow]:
    """Every variable with its value, where that came from, and whether a reload can change it."""
    known = settings.variables
    # Unset it holds for UI files alone, so no default of the variable could say it.
    shown = known.model_copy(
        update={
            "runner_first_byte_timeout_ms": first_byte_ms(known),
            "runner_storage_api_token": host_api_token(known),
        }
    )
    return [
        EffectiveRow(
            variable=name,
            value=_shown(getattr(shown, row.field), secret=row.secret),
            origin=settings.origins[name],
            tier="static" if row.static else "dynamic",
        )
        for name, row in VARIABLES.items()
    ]


def changed(old: Settings, new: Settings) -> tuple[str, ...]:
    """The names of the variables whose values differ."""
    return tuple(
        name
        for name, row in VARIABLES.items()
        if getattr(old.variables, row.field) != getattr(new.variables, row.field)
    )


def restart_needed(old: Settings, new: Settings) -> tuple[str, ...]:
    """Those of `changed` that a running process cannot follow."""
    return tuple(name for name in changed(old, new) if VARIABLES[name].static)


def with_static_of(new: Settings, old: Settings) -> Settings:
    """`new`, as far as a process that was started with `old` can follow it.

    Raises:
        SettingsError: the dynamic values contradict the static ones that stay, such as
            GATEWAY_AUTH=dev while the listener that stays is not on loopback.
    """
    static = {row.field: name for name, row in VARIABLES.items() if row.static}
    values = new.variables.model_copy(
        update={name: getattr(old.variables, name) for name in static}
    )
    problems = tuple(contradictions(values))
    if problems:
        raise SettingsError(problems, new.pinned)
    kept: dict[str, Origin] = {name: old.origins[name] for name in static.values()}
    return replace(
        new,
        listen=old.listen,
        runner_port=old.runner_port,
        origins={**new.origins, **kept},
        variables=values,
    )


def on_loopback(settings: Settings, backend: BackendSettings, *, tenant: str) -> Settings:
    """The same settings for a listener that only this program uses: any port of loopback, no TLS,
    every caller counts as `tenant`, and no UI file is cached."""
    return replace(
        settings,
        backend=backend,
        listen=replace(settings.listen, host="127.0.0.1", port=0, tls_cert=None, tls_key=None),
        auth=DevAuth(tenant=tenant),
        asset_cache_bytes=0,
        asset_cache_dir=None,
    )


def _assemble(values: Variables, sources: Sources) -> Settings:
    installs: DirectoryInstallsSettings | RegistryInstallsSettings
    if values.registry_base_url is None:
        installs = DirectoryInstallsSettings(
            bundle_dir=values.runner_bundle_dir, tenant=values.gateway_dev_tenant
        )
    else:
        installs = RegistryInstallsSettings(
            base_url=application_url(values.registry_base_url),
            token=values.runner_config_api_token or "",
            bundle_dir=values.runner_bundle_dir,
        )
    return Settings(
        listen=Listen(
            host=values.gateway_host,
            port=values.gateway_port,
            tls_cert=values.gateway_tls_cert,
            tls_key=values.gateway_tls_key,
            header_timeout_s=values.gateway_header_timeout_ms / 1000,
            body_idle_s=values.gateway_body_idle_timeout_ms / 1000,
            keepalive_s=values.gateway_keepalive_timeout_ms / 1000,
            workers=_workers(values.gateway_workers),
        ),
        backend=backend_settings(values),
        embedded=embedded_settings(values),
        runner_port=values.port,
        service_token=values.runner_service_token or values.runner_service_token_file,
        public_base=values.runner_public_base,
        timeout_s=values.ext_gateway_timeout_ms / 1000,
        guest_budget_s=guest_budget_s(values),
        auth=_auth(values),
        admin_token=values.gateway_admin_token,
        max_body_bytes=values.gateway_max_body_bytes,
        max_in_flight=values.gateway_max_in_flight,
        asset_cache_bytes=values.gateway_asset_cache_mb * 1024 * 1024,
        asset_cache_dir=values.gateway_asset_cache_dir,
        drain_s=float(values.gateway_drain_seconds),
        log_format=values.gateway_log_format or "json",
        log_level=values.gateway_log_level,
        allowed_origins=frozenset(values.ext_gateway_allowed_origins),
        ui_sandbox=values.ext_ui_sandbox == "true",
        ui_reload=values.ext_ui_reload == "true",
        ui_frame_ancestors=values.ext_ui_frame_ancestors,
        installs=installs,
        probe_interval_s=values.gateway_probe_interval_ms / 1000,
        env_watch_s=values.gateway_env_watch_ms / 1000,
        env_file=sources.env_file,
        origins=sources.origins,
        pinned=sources.pinned,
        unread=sources.unread,
        unused=tuple(unused(values, sources.origins)),
        variables=values,
        secrets=_secrets(values),
    )


def _workers(wanted: int | Literal["auto"]) -> int:
    """How many processes: for `auto` one for each core that this one may use."""
    return min(usable_cores(), MAX_WORKERS) if wanted == "auto" else wanted


def _auth(values: Variables) -> AuthSettings:
    match values.gateway_auth:
        case "dev":
            origins = values.ext_gateway_allowed_origins
            names = {urlsplit(each).hostname for each in (*origins, values.runner_public_base)}
            return DevAuth(
                tenant=values.gateway_dev_tenant,
                hosts=frozenset(name for name in names if name),
                origins=frozenset(origins),
            )
        case "proxy":
            return ProxyAuth(key=values.gateway_proxy_key or "")
        case "jwt":
            file = values.gateway_jwt_key_file
            return JwtSettings(
                issuer=values.gateway_jwt_issuer or "",
                audience=values.gateway_jwt_audience or "",
                algorithms=frozenset(values.gateway_jwt_algorithms),
                leeway_s=float(values.gateway_jwt_leeway_seconds),
                tenant_claim=values.gateway_jwt_tenant_claim,
                keys=file.keys if file is not None else values.gateway_jwt_jwks_url or "",
            )


def _secrets(values: Variables) -> frozenset[str]:
    found = (getattr(values, row.field) for row in VARIABLES.values() if row.secret)
    return frozenset(secret for secret in found if secret)


def _shown(value: object, *, secret: bool) -> str:
    if value is None:
        return ""
    if secret:
        return "(set)"
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    return str(value)
