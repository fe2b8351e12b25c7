"""Where the Docker engine listens, and who said so.

The order is that of the docker command: DOCKER_HOST, DOCKER_CONTEXT, the configuration's
current context, then the rootless socket and the sockets that well-known engines make.
"""

import hashlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import orjson

from backends.settings import EngineHints

SYSTEM_SOCKETS: Final = (Path("/var/run/docker.sock"), Path("/run/podman/podman.sock"))
HOME_SOCKETS: Final = {
    ".docker/run/docker.sock": "Docker Desktop's socket",
    ".colima/default/docker.sock": "Colima's socket",
    ".rd/docker.sock": "Rancher Desktop's socket",
    ".orbstack/run/docker.sock": "OrbStack's socket",
}
_MAX_BYTES: Final = 1024 * 1024
_LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class EngineNotFound(Exception):
    """No engine is known, or the one that is named cannot be used.

    Args:
        reason: one machine word.
        detail: what to do about it; holds no path and no credentials.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAddress:
    """One engine, and the reason for choosing it."""

    url: str  # unix:///path, http://host:port or https://host:port
    why: str  # "DOCKER_HOST", "context colima", "rootless socket", ...
    tls_dir: Path | None = None  # ca.pem, cert.pem and key.pem, as far as they exist

    @property
    def scheme(self) -> str:
        return urlsplit(self.url).scheme

    @property
    def remote_host(self) -> str | None:
        """The engine's host, when that is another machine."""
        host = urlsplit(self.url).hostname
        return None if self.scheme == "unix" or host in _LOCAL_HOSTS else host

    def tls(self) -> ssl.SSLContext | None:
        """Trust anchors and the client's own certificate; None without TLS.

        Raises:
            OSError: a file cannot be read, or is no certificate.
        """
        if self.scheme != "https":
            return None
        context = ssl.create_default_context()
        if self.tls_dir is not None:
            if (ca := self.tls_dir / "ca.pem").exists():
                context.load_verify_locations(cafile=ca)
            if (certificate := self.tls_dir / "cert.pem").exists():
                context.load_cert_chain(certificate, self.tls_dir / "key.pem")
        return context


def find_engine(
    hints: EngineHints, *, system_sockets: tuple[Path, ...] = SYSTEM_SOCKETS
) -> EngineAddress:
    """Choose an engine; reads files, opens no connection.

    Raises:
        EngineNotFound: there is none, or what was asked for cannot be used.
    """
    if hints.docker_host:
        tls_dir = (hints.cert_dir or hints.config_dir) if hints.tls_verify else None
        return _address(hints.docker_host, "DOCKER_HOST", tls_dir=tls_dir)
    context, why = hints.docker_context, "DOCKER_CONTEXT"
    if not context:
        context, why = _current_context(hints.config_dir), "the current context"
    if context and context != "default":
        return _from_context(context, f"{why}, {context!r}", hints.config_dir)
    for socket, found in _sockets(hints, system_sockets):
        if socket.is_socket():
            return EngineAddress(url=f"unix://{socket}", why=found)
    raise EngineNotFound(
        "engine_not_found", "no Docker socket is where one usually is; set DOCKER_HOST"
    )


def is_engine_address(host: str) -> bool:
    """Whether `host` is of a kind that is spoken here; asks nobody.

    >>> is_engine_address("tcp://127.0.0.1:2375"), is_engine_address("ssh://me@host")
    (True, False)
    """
    try:
        _address(host, "", tls_dir=None)
    except EngineNotFound:
        return False
    return True


def _sockets(hints: EngineHints, system_sockets: tuple[Path, ...]) -> Iterator[tuple[Path, str]]:
    if hints.runtime_dir is not None:
        yield hints.runtime_dir / "docker.sock", "the rootless socket"
        yield hints.runtime_dir / "podman" / "podman.sock", "podman's rootless socket"
    for socket in system_sockets:
        yield socket, "a well-known socket"
    if hints.home is not None:
        for name, why in HOME_SOCKETS.items():
            yield hints.home / name, why


def _current_context(config_dir: Path | None) -> str | None:
    if config_dir is None:
        return None
    current = _read_json(config_dir / "config.json").get("currentContext")
    return current if isinstance(current, str) else None


def _from_context(name: str, why: str, config_dir: Path | None) -> EngineAddress:
    folder = hashlib.sha256(name.encode()).hexdigest()
    contexts = (config_dir or Path()) / "contexts"
    meta = _read_json(contexts / "meta" / folder / "meta.json") if config_dir else {}
    endpoints = meta.get("Endpoints")
    endpoint = endpoints.get("docker") if isinstance(endpoints, dict) else None
    host = endpoint.get("Host") if isinstance(endpoint, dict) else None
    if not isinstance(host, str):
        raise EngineNotFound(
            "context_not_found", f"there is no Docker context {name!r}: docker context ls"
        )
    tls_dir = contexts / "tls" / folder / "docker"
    return _address(host, why, tls_dir=tls_dir if tls_dir.is_dir() else None)


def _read_json(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            document = orjson.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError):
        return {}  # what the docker command cannot read either is its to complain about
    return document if isinstance(document, dict) else {}


def _address(host: str, why: str, *, tls_dir: Path | None) -> EngineAddress:
    try:
        parts = urlsplit(host)
        port = parts.port
    except ValueError:
        raise EngineNotFound("engine_address_malformed", f"named by {why}") from None
    match parts.scheme:
        case "unix" if parts.path and not parts.netloc:
            return EngineAddress(url=f"unix://{parts.path}", why=why)
        case "tcp" | "http" | "https" if parts.hostname and "@" not in parts.netloc:
            secure = parts.scheme == "https" or tls_dir is not None
            name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            url = f"{'https' if secure else 'http'}://{name}:{port or (2376 if secure else 2375)}"
            return EngineAddress(url=url, why=why, tls_dir=tls_dir)
        case "ssh":
            raise EngineNotFound(
                "engine_address_unsupported",
                "ssh:// is not spoken here: forward the socket with `ssh -L` and name it"
                " in DOCKER_HOST",
            )
        case _:
            raise EngineNotFound(
                "engine_address_malformed",
                f"named by {why}: write unix:///path or tcp://host:port",
            )
