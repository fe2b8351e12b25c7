"""The engine itself: the one that answers, else `dockerd` beside everything else.

Ours has its own sockets, data, bridge and addresses below one temporary folder. It leaves the
firewall alone, so containers reach each other and nothing else, and are reached through ports
published on 127.0.0.1. A build that downloads needs the host's network.
"""

import ipaddress
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.rigs.docker.base_image import import_base_image
from tests.rigs.docker.commands import EngineUnavailable, run
from tests.rigs.docker.daemon import ASK_S, Daemon, server_version
from tests.rigs.docker.debian import tools

MIN_COMPOSE: Final = (2, 22)  # the first that knows `develop:`
CANDIDATE_NETWORKS: Final = tuple(f"10.{second}.0.0/16" for second in range(213, 250))


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A usable engine.

    Attributes:
        environ: the process environment with which `docker` and `docker compose` reach it, and
            with which compose.yaml builds.
        version: what it calls itself.
        daemon: the process, when the rig has started it; None for somebody else's engine.
    """

    environ: Mapping[str, str]
    version: str
    daemon: Daemon | None = None


@contextmanager
def docker_engine() -> Iterator[Engine]:
    """An engine for as long as the context lasts. Blocking.

    Raises:
        EngineUnavailable: none answers, and none can be started here.
    """
    with ExitStack() as stack:
        yield _answering() or stack.enter_context(_own_engine())


def _answering() -> Engine | None:
    try:
        version = server_version(os.environ)
        compose = run("docker", "compose", "version", "--short", timeout_s=ASK_S)
    except EngineUnavailable:
        return None
    numbers = compose.strip().removeprefix("v").split(".")
    if tuple(int(number) for number in numbers[:2]) < MIN_COMPOSE:
        return None
    return Engine(environ=os.environ, version=version)


@contextmanager
def _own_engine() -> Iterator[Engine]:
    if os.geteuid() != 0:
        raise EngineUnavailable("no Docker engine answers, and only root can start one")
    for program in ("ip", "iptables"):  # containers find each other's names by the second
        if shutil.which(program) is None:
            raise EngineUnavailable(f"there is no program {program}; see .ci/docker")
    unpacked = tools()
    with ExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="gateway-rig."))
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        bridge, network = stack.enter_context(_bridge(home.name[-8:].lower()))
        environ = _environ(home, unpacked)
        daemon = Daemon(home, environ, bridge, network)
        stack.callback(daemon.remove)
        version = daemon.start()
        environ["BASE_IMAGE"] = import_base_image(environ)
        yield Engine(environ=environ, version=version, daemon=daemon)


def _environ(home: Path, unpacked: Path) -> dict[str, str]:
    plugins = home / "config" / "cli-plugins"
    plugins.parent.mkdir()
    plugins.symlink_to(unpacked / "usr" / "libexec" / "docker" / "cli-plugins")
    search = [str(unpacked / "usr" / "bin"), str(unpacked / "usr" / "sbin"), os.environ["PATH"]]
    return {
        **os.environ,
        "PATH": os.pathsep.join(search),
        "DOCKER_HOST": f"unix://{home}/docker.sock",
        "DOCKER_CONFIG": str(home / "config"),
        "BUILD_NETWORK": "host",
    }


@contextmanager
def _bridge(suffix: str) -> Iterator[tuple[str, ipaddress.IPv4Network]]:
    """A bridge of our own, in a network that no route of this machine overlaps."""
    name = f"gwrig{suffix}"
    network = _free_network()
    first = next(network.subnets(new_prefix=24))
    run("ip", "link", "add", name, "type", "bridge", timeout_s=ASK_S)
    try:
        run("ip", "address", "add", f"{first[1]}/24", "dev", name, timeout_s=ASK_S)
        run("ip", "link", "set", name, "up", timeout_s=ASK_S)
        yield name, network
    finally:
        run("ip", "link", "delete", name, timeout_s=ASK_S)


def _free_network() -> ipaddress.IPv4Network:
    routes = json.loads(run("ip", "-json", "-4", "route", "show", timeout_s=ASK_S))
    taken = [
        ipaddress.IPv4Network(route["dst"], strict=False)
        for route in routes
        if route["dst"] != "default"
    ]
    for candidate in map(ipaddress.IPv4Network, CANDIDATE_NETWORKS):
        if not any(candidate.overlaps(network) for network in taken):
            return candidate
    raise EngineUnavailable("every network that the rig would use is taken on this machine")
