"""Where a running container can be dialled, seen from where the gateway runs.

From the host that is a published port and nothing else: container addresses are out of reach
on Docker Desktop and under rootless engines, and what works on one machine only helps nobody.
From inside a network that both share it is the container's own address.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from backends.docker_engine.documents import (
    MAX_OWNERS,
    Document,
    network_owner,
    port,
    section,
    text,
)

PORT_LABEL: Final = "extension-gateway.port"
NETWORK_LABEL: Final = "extension-gateway.network"

_ANY: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  what an engine says, not a listener
_ENGINE_HOST: Final = "host.docker.internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewpoint:
    """Where the gateway stands."""

    networks: frozenset[str] | None = None
    """Its own networks' names; None when it runs in no container of this engine."""
    engine_host: str | None = None
    """The engine's host when that is another machine."""

    @property
    def host(self) -> str:
        """The name under which the ports of the engine's host are found."""
        if self.engine_host is not None:
            return self.engine_host
        return "127.0.0.1" if self.networks is None else _ENGINE_HOST


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A verdict: an address, or why there is none."""

    url: str | None
    why: str
    advice: str = ""


def find_address(document: Document, view: Viewpoint, owners: Mapping[str, Document]) -> Found:
    """The one address of a container that runs. Never raises, whatever the documents hold."""
    bearer = _bearer(document, owners)
    if bearer is None:
        return Found(
            url=None, why="no_address", advice="the container that owns its network is gone"
        )
    ports = _ports(document, bearer)
    if section(bearer, "HostConfig").get("NetworkMode") == "host":
        if not ports:
            return _no_port()
        return _at(view.host, ports[0], "host_network")
    inside = _inside(document, bearer, view, ports)
    return inside or _published(bearer, view, ports)


def _bearer(document: Document, owners: Mapping[str, Document]) -> Document | None:
    """The container whose network counts: this one, or the one that it shares it with."""
    for _ in range(MAX_OWNERS + 1):
        name = network_owner(document)
        if name is None:
            return document
        owner = owners.get(name)
        if owner is None:
            return None
        document = owner
    return None


def _ports(document: Document, bearer: Document) -> list[int]:
    """The ports that may be the runner's, best first."""
    if (named := port(section(document, "Config", "Labels").get(PORT_LABEL))) is not None:
        return [named]
    own = _tcp(section(document, "Config", "ExposedPorts"))
    return own or _tcp(section(bearer, "NetworkSettings", "Ports"))


def _tcp(ports: Document) -> list[int]:
    found = (port(key.removesuffix("/tcp")) for key in ports if isinstance(key, str))
    return sorted({each for each in found if each is not None})


def _inside(
    document: Document, bearer: Document, view: Viewpoint, ports: list[int]
) -> Found | None:
    """By a network that both are in: the labelled one, else the first by name."""
    if view.networks is None:
        return None
    wanted = text(section(document, "Config", "Labels").get(NETWORK_LABEL))
    networks = section(bearer, "NetworkSettings", "Networks")
    for name in sorted(view.networks & networks.keys()):
        if wanted not in ("", name):
            continue
        for key in ("IPAddress", "GlobalIPv6Address"):
            address = text(section(networks, name).get(key))
            if _is_ip(address):
                return _at(address, ports[0], f"network_{name}") if ports else _no_port()
    return None


def _published(bearer: Document, view: Viewpoint, ports: list[int]) -> Found:
    """By a port of the engine's host."""
    published = section(bearer, "NetworkSettings", "Ports")
    # A container may publish ports that its image does not declare.
    candidates = ports or _tcp(published)
    elsewhere = False
    for inner in candidates:
        for address, outer in _bindings(published.get(f"{inner}/tcp")):
            host = view.host if address in _ANY else address
            if address == "::" and view.host == "127.0.0.1":
                host = "::1"
            if address not in _ANY and not _dialable(address, view):
                elsewhere = True
                continue
            return _at(host, outer, "published_port")
    if elsewhere:
        return Found(
            url=None,
            why="published_elsewhere",
            advice="it is published on the engine's own loopback, which is not this process's",
        )
    if not candidates:
        return _no_port()
    return Found(
        url=None,
        why="port_not_published",
        advice=f'publish the port: ports: ["127.0.0.1::{candidates[0]}"]',
    )


def _bindings(bindings: object) -> Iterator[tuple[str, int]]:
    """(host address, host port), IPv4 first; null means exposed and not published."""
    found = []
    for each in bindings if isinstance(bindings, list) else ():
        if isinstance(each, Mapping) and (outer := port(each.get("HostPort"))) is not None:
            address = text(each.get("HostIp"))
            if address in _ANY or _is_ip(address):
                found.append((":" in address, address, outer))
    for _, address, outer in sorted(found):
        yield address, outer


def _dialable(address: str, view: Viewpoint) -> bool:
    """A loopback address is the engine host's own: of use to processes there alone."""
    on_host = view.engine_host is None and view.networks is None
    return on_host or not ipaddress.ip_address(address).is_loopback


def _at(host: str, number: int, why: str) -> Found:
    name = f"[{host}]" if ":" in host else host
    return Found(url=f"http://{name}:{number}", why=why)


def _no_port() -> Found:
    return Found(
        url=None,
        why="no_port",
        advice=f"expose the runner's port, or name it in the label {PORT_LABEL}",
    )


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True
