"""The way to the Kubernetes API: from inside a pod, or by a kubeconfig.

kubernetes-asyncio knows every form of kubeconfig and keeps an in-cluster token fresh. It is
large, so it is imported when a service is asked for and not before, in a thread.
"""

import asyncio
import importlib
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from backends.settings import ServingApi

if TYPE_CHECKING:
    from kubernetes_asyncio.client import ApiClient

_GROUP: Final = "/apis/serving.knative.dev/v1"
_LOAD_S: Final = 10.0  # a kubeconfig may run a program to get its credentials
_CONNECT_S: Final = 5.0
_READ_S: Final = 10.0
_MAX_LINE_BYTES: Final = 32 * 1024 * 1024  # a whole collection is one line
_MODULES: Final = ("client", "config")


class ClusterError(Exception):
    """The API did not answer as asked. `status` is its HTTP status, 0 when there was none."""

    def __init__(self, reason: str, status: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class Cluster:
    """Reads Knative collections of one namespace. `open` it; `aclose` it."""

    def __init__(self, client: "ApiClient", namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    @classmethod
    async def open(cls, settings: ServingApi) -> "Cluster":
        """A client with the credentials as they are now; nothing is asked for yet.

        Raises:
            ClusterError: "no_cluster_credentials": neither a pod's nor a usable kubeconfig.
        """
        await import_client()
        try:
            async with asyncio.timeout(_LOAD_S):
                return cls(await _client(settings), settings.namespace)
        except Exception as fault:
            # The library raises anything here, and its messages may quote a credential.
            if isinstance(fault, asyncio.CancelledError):
                raise
            raise ClusterError("no_cluster_credentials") from None

    async def list(self, plural: str, selector: Mapping[str, str]) -> dict[str, Any]:
        """One collection as it is now, with the resourceVersion to watch it from."""
        raw = b"".join([part async for part in self._get(plural, selector, _READ_S)])
        return _object(raw)

    async def watch(
        self, plural: str, selector: Mapping[str, str], *, version: str, for_s: int
    ) -> AsyncIterator[dict[str, Any]]:
        """Every change since `version`, bookmarks among them, until the API ends it.

        Raises:
            ClusterError: with status 410 when the version is too old to go on from.
        """
        asked = {
            **selector,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(for_s),
        }
        async for line in self._get(plural, asked, for_s + _READ_S):
            event = _object(line)
            if event.get("type") == "ERROR":
                status = event.get("object")
                code = status.get("code") if isinstance(status, dict) else 0
                raise ClusterError("watch_refused", code if isinstance(code, int) else 0)
            yield event

    async def aclose(self) -> None:
        await self._client.close()

    async def _get(
        self, plural: str, query: Mapping[str, str], read_s: float
    ) -> AsyncIterator[bytes]:
        """The answer's lines: the API ends one behind each event, and nowhere else."""
        from aiohttp import ClientError, ClientTimeout
        from aiohttp.http_exceptions import LineTooLong

        response = None
        try:
            response = await self._client.call_api(
                f"{_GROUP}/namespaces/{self._namespace}/{plural}",
                "GET",
                query_params=list(query.items()),
                header_params={"Accept": "application/json"},
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=ClientTimeout(
                    total=None, connect=_CONNECT_S, sock_connect=_CONNECT_S, sock_read=read_s
                ),
            )
            if response.status != 200:
                raise ClusterError("api_refused", response.status)
            while line := await response.content.readline(max_line_length=_MAX_LINE_BYTES):
                yield line
        except LineTooLong:
            raise ClusterError("api_answer_too_large") from None
        except (ClientError, OSError, ValueError, TimeoutError):
            # Not chained: the messages quote the API, and its address may be in a kubeconfig.
            raise ClusterError("api_unreachable") from None
        finally:
            if response is not None:
                response.close()


async def _client(settings: ServingApi) -> "ApiClient":
    from kubernetes_asyncio import config
    from kubernetes_asyncio.client import ApiClient, Configuration

    configuration = Configuration()
    if settings.kubeconfig is not None:
        await config.load_kube_config(
            config_file=settings.kubeconfig,
            client_configuration=configuration,
            persist_config=False,  # the file is its owner's
        )
    else:
        where = {
            "KUBERNETES_SERVICE_HOST": settings.api_host or "",
            "KUBERNETES_SERVICE_PORT": settings.api_port or "",
        }
        config.load_incluster_config(  # type: ignore[no-untyped-call] # untyped in the library
            client_configuration=configuration, environ=where
        )
    return ApiClient(configuration)


async def import_client() -> None:
    """Half a second of work in this process, and more on a slow one: no deadline fits it."""
    for name in _MODULES:
        await asyncio.to_thread(importlib.import_module, f"kubernetes_asyncio.{name}")


def _object(raw: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise ClusterError("api_answer_malformed") from None
    if not isinstance(document, dict):
        raise ClusterError("api_answer_malformed")
    return document
