"""What each backend needs to be opened. Frozen values; gateway.settings fills them."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Budgets of one upstream exchange, in seconds. None of them is infinite."""

    connect_s: float = 2.0
    first_byte_s: float = 25.0
    idle_s: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KnativeSettings:
    """A runner behind an ingress, reached by its base URL."""

    base_url: str  # http(s)://host[:port][/base]
    public_base: str = "/runner"
    timeouts: Timeouts = Timeouts()
    token_file: Path | None = None  # projected token, sent as Authorization: Bearer
    host: str | None = None  # Host and SNI, when base_url is the ingress


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerSettings:
    """A runner in a container, reached by the port it publishes."""

    host_url: str
    public_base: str = "/runner"
    timeouts: Timeouts = Timeouts()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostApiSettings:
    """The host application's internal API, for scheduler, invoicing, clients and services."""

    base_url: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedSettings:
    """Extensions run in this process."""

    bundle_dir: Path
    public_base: str = "/runner"
    memory_mb: int = 256
    max_concurrency: int = 2
    max_queue: int = 64
    egress_allowlist: tuple[str, ...] = ()  # hosts; a leading dot is not needed for subdomains
    host_api: HostApiSettings | None = None
    ui_proxy_base_url: str | None = None
    ui_proxy_timeout_s: float = 5.0
    content_security_policy: str | None = None  # replaces the default one
    frame_ancestors: str | None = None  # appended to the default one
    max_asset_bytes: int | None = None


BackendSettings = KnativeSettings | DockerSettings | EmbeddedSettings
