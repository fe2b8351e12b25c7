"""What each backend needs to be opened. Frozen values; gateway.settings fills them."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from backends.files.token import TokenFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Budgets of one upstream exchange, in seconds."""

    connect_s: float = 2.0
    first_byte_s: float = 25.0
    call_first_byte_s: float | None = None
    """The same for a handler's answer, which begins when the handler has ended; None: it has the
    whole budget of its call."""
    idle_s: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KnativeTls:
    """Files for TLS toward an ingress; None: the system's authorities, no client certificate."""

    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    fingerprint: str = ""  # of what the files held when the settings were read


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingApi:
    """One Knative service, and where the API is asked about it."""

    namespace: str
    service: str
    kubeconfig: str | None = None  # file names as in KUBECONFIG; None: as a pod of the cluster
    api_host: str | None = None  # KUBERNETES_SERVICE_HOST
    api_port: str | None = None  # KUBERNETES_SERVICE_PORT


@dataclass(frozen=True, slots=True, kw_only=True)
class KnativeSettings:
    """A runner behind an ingress, reached by its base URL.

    With nothing but a base URL it is an ordinary runner.
    """

    base_url: str  # http(s)://host[:port][/base]
    public_base: str = "/runner"
    timeouts: Timeouts = Timeouts()
    token_file: Path | None = None  # projected token, sent as Authorization: Bearer
    token_audience: str | None = None  # whom the token must be for, when it is a JWT
    host: str | None = None  # Host and SNI, when base_url is the ingress
    serving: ServingApi | None = None
    cold_start_s: float | None = None  # how long a call may wait for a runner; None: not at all
    warm_on_page: bool = False  # fetching a page warms its handler
    tls: KnativeTls = KnativeTls()


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineHints:
    """What is known about where the Docker engine is; backends.docker_engine.address decides."""

    docker_host: str | None = None  # DOCKER_HOST
    docker_context: str | None = None  # DOCKER_CONTEXT
    config_dir: Path | None = None  # DOCKER_CONFIG, or .docker in the home folder
    cert_dir: Path | None = None  # DOCKER_CERT_PATH
    tls_verify: bool = False  # DOCKER_TLS_VERIFY
    runtime_dir: Path | None = None  # XDG_RUNTIME_DIR, where rootless engines listen
    home: Path | None = None
    own_container: str | None = None  # this process's container, when it may run in one


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerSettings:
    """A runner in a container: at a known address, or found by its compose labels."""

    host_url: str | None = None  # given: nothing is looked for
    fallback_url: str | None = None  # when there is no such container to be found
    project: str | None = None
    service: str = "extension-runner"
    engine: EngineHints = EngineHints()
    public_base: str = "/runner"
    public_url: str | None = None  # pages come straight from here, past the gateway
    timeouts: Timeouts = Timeouts()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostApiSettings:
    """The host application's internal API: storage, scheduler, invoicing, clients, services."""

    base_url: str
    token: str | TokenFile = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedSettings:
    """Extensions run in this process, or in processes of its own."""

    bundle_dir: Path
    processes: int = 0  # 0: this one
    public_base: str = "/runner"
    memory_mb: int = 256
    compile_memory_mb: int = 768
    max_concurrency: int = 2
    max_queue: int = 64
    egress_allowlist: tuple[str, ...] = ()  # hosts; a leading dot is not needed for subdomains
    host_api: HostApiSettings | None = None
    ui_proxy_base_url: str | None = None
    ui_proxy_timeout_s: float = 5.0
    content_security_policy: str | None = None  # replaces the default one
    frame_ancestors: str | None = None  # appended to the default one
    max_asset_bytes: int | None = None

    def shared(self, among: int) -> Self:
        """The part of one of `among` processes in the bounds on all of them together."""
        return replace(
            self,
            max_concurrency=share(self.max_concurrency, among),
            max_queue=share(self.max_queue, among),
        )

    def facts(self) -> dict[str, object]:
        """What an operator wants to see: the bounds, and who keeps entries. No absolute paths."""
        return {
            "bundle_dir": self.bundle_dir.name,
            "memory_mb": self.memory_mb,
            "compile_memory_mb": self.compile_memory_mb,
            "max_concurrency": self.max_concurrency,
            "max_queue": self.max_queue,
            "egress_allowlist": list(self.egress_allowlist),
            "storage": "file" if self.host_api is None else "application",
        }


def share(bound: int, among: int) -> int:
    """One part of a bound, rounded up, so that everybody has some.

    >>> share(3, 2), share(0, 2)
    (2, 0)
    """
    return -(-bound // among)


BackendSettings = KnativeSettings | DockerSettings | EmbeddedSettings
