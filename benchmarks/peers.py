"""What is measured: this gateway, and what others would put in its place.

Each peer is configured as its own documentation has it for a plain reverse proxy with
kept-alive connections, on one thread, without logs.
"""

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.gateway import CACHED, EMBEDDED, PASSING, gateway_launch, has_cache
from benchmarks.nginx import frame
from benchmarks.servers import Launch, Server, started
from benchmarks.site import Site
from benchmarks.tools import Tools

HERE: Final = Path(__file__).parent


@dataclass(frozen=True)
class Place:
    """Where a peer is started, and in front of what."""

    folder: Path
    port: int
    runner_port: int
    tools: Tools
    site: Site
    gateway_key: str

    @property
    def runner_url(self) -> str:
        return f"http://127.0.0.1:{self.runner_port}"


@dataclass(frozen=True)
class Peer:
    """One server to measure. `kind` decides which work it can do: see benchmarks.workloads."""

    name: str
    kind: str
    program: str | None  # what must be there
    launch: Callable[[Place], Launch]

    def missing(self, tools: Tools) -> str | None:
        """Why it cannot be measured; None when it can."""
        if self.name == "gateway-cache" and not has_cache():
            return "this version of the gateway has no cache"
        if self.program is not None and tools.find(self.program) is None:
            return f"{self.program} is missing"
        return None

    def started(self, place: Place, *, cpu: int) -> AbstractContextManager[Server]:
        """Run it at its place, on one core; see benchmarks.servers.started."""
        place.folder.mkdir(exist_ok=True)
        launch = self.launch(place)
        return started(self.name, launch, port=place.port, cpu=cpu, folder=place.folder)


def _nginx(place: Place) -> Launch:
    return _nginx_with(place, before="", inside="")


def _nginx_cache(place: Place) -> Launch:
    zone = f"proxy_cache_path {place.folder}/cache keys_zone=files:10m max_size=256m;"
    return _nginx_with(place, before=zone, inside="proxy_cache files;")


def _nginx_with(place: Place, *, before: str, inside: str) -> Launch:
    config = place.folder / "nginx.conf"
    http = f"""{before}
upstream runner {{ server 127.0.0.1:{place.runner_port}; keepalive 64;
  keepalive_requests 1000000000; }}
server {{
  listen 127.0.0.1:{place.port} backlog=1024;
  location / {{
    proxy_pass http://runner;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    {inside}
  }}
}}"""
    config.write_text(frame(http, place.folder))
    return _launch(place, "nginx", "-p", str(place.folder), "-c", str(config))


def _haproxy(place: Place) -> Launch:
    config = place.folder / "haproxy.cfg"
    config.write_text(f"""global
  nbthread 1
defaults
  mode http
  timeout connect 2s
  timeout client 75s
  timeout server 30s
  http-reuse always
frontend clients
  bind 127.0.0.1:{place.port}
  default_backend runner
backend runner
  server runner 127.0.0.1:{place.runner_port} maxconn 256
""")
    return _launch(place, "haproxy", "-db", "-f", str(config))


def _caddy(place: Place) -> Launch:
    config = place.folder / "Caddyfile"
    config.write_text(f"""{{
  admin off
  auto_https off
}}
http://127.0.0.1:{place.port} {{
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:{place.runner_port}
}}
""")
    return _launch(
        place, "caddy", "run", "--adapter", "caddyfile", "--config", str(config),
        GOMAXPROCS="1", HOME=str(place.folder),
    )  # fmt: skip


def _envoy(place: Place) -> Launch:
    config = place.folder / "envoy.json"
    config.write_text(json.dumps(_envoy_config(place.port, place.runner_port)))
    return _launch(
        place, "envoy", "--config-path", str(config),
        "--concurrency", "1", "--disable-hot-restart", "--log-level", "error",
    )  # fmt: skip


def _envoy_config(port: int, runner_port: int) -> Mapping[str, object]:
    def address(at: int) -> Mapping[str, object]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": at}}

    types = "type.googleapis.com/envoy.extensions.filters"
    router = {"@type": f"{types}.http.router.v3.Router"}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "runner"}}
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
        "route_config": {
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}],
        },
    }
    filters = [
        {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager},
    ]
    endpoint = {"endpoint": {"address": address(runner_port)}}
    cluster = {
        "name": "runner",
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": "runner",
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }
    listener = {
        "name": "clients",
        "address": address(port),
        "filter_chains": [{"filters": filters}],
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _http_proxy_3(place: Place) -> Launch:
    module = place.tools.require("http-proxy-3")
    program = place.tools.require("node")
    arguments = (str(HERE / "http_proxy_3.cjs"), str(place.port), place.runner_url, str(module))
    return Launch((str(program), *arguments), {"NODE_ENV": "production"})


def _bare(place: Place) -> Launch:
    command = (sys.executable, str(HERE / "bare_proxy.py"), str(place.port), place.runner_url)
    return Launch(command, {})


def _gateway(flavour: Mapping[str, str]) -> Callable[[Place], Launch]:
    def launch(place: Place) -> Launch:
        return gateway_launch(
            flavour,
            folder=place.folder,
            port=place.port,
            runner_url=place.runner_url,
            key=place.gateway_key,
        )

    return launch


def _launch(place: Place, name: str, *arguments: str, **environ: str) -> Launch:
    program = place.tools.require(name)
    return Launch((str(program), *arguments), {**place.tools.environ_of(program), **environ})


PEERS: Final = (
    Peer("gateway", "gateway", None, _gateway(PASSING)),
    Peer("nginx", "proxy", "nginx", _nginx),
    Peer("haproxy", "proxy", "haproxy", _haproxy),
    Peer("envoy", "proxy", "envoy", _envoy),
    Peer("caddy", "proxy", "caddy", _caddy),
    Peer("http-proxy-3", "proxy", "http-proxy-3", _http_proxy_3),
    Peer("bare-aiohttp", "proxy", None, _bare),
    Peer("gateway-cache", "gateway-cache", None, _gateway(CACHED)),
    Peer("nginx-cache", "cache", "nginx", _nginx_cache),
    Peer("gateway-embedded", "gateway-embedded", None, _gateway(EMBEDDED)),
)
