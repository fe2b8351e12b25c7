"""Keeps one Knative service in view: list, watch, go on where it broke off, list anew at 410.

What is known stays known while the API is away: calls go on as before, and an operator reads
in the metadata that the picture is not current.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from backends.knative_path.cluster import Cluster, ClusterError
from backends.knative_path.service import ServiceState, read_service
from backends.settings import ServingApi

FIRST_READ_S: Final = 10.0
WATCH_S: Final = 240
BACK_OFF_S: Final = (0.2, 15.0)
_MAX_OBJECTS: Final = 1000  # of one collection that are remembered: the newest

OpenCluster = Callable[[], Awaitable[Cluster]]

_log = structlog.get_logger("backends.knative")


class ServingReader:
    """Two watches, of the service and of its revisions, made into one ServiceState.

    Attributes:
        state: what is known; an empty one before the service was first seen.
        current: both watches are under way.
    """

    def __init__(self, open_cluster: OpenCluster, service: str, *, watch_s: int = WATCH_S) -> None:
        self._open_cluster = open_cluster
        self._service = service
        self._watch_s = watch_s
        self._cluster: Cluster | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._services, self._revisions = _collections(service)
        self._changed = asyncio.Condition()
        self._opening = asyncio.Lock()
        self.state = ServiceState()

    @property
    def current(self) -> bool:
        return self._services.watched and self._revisions.watched

    async def start(self) -> None:
        """Read both once, then follow them in the background.

        Raises:
            OSError: the API cannot be read, or knows no such service; the reason in one word.
        """
        try:
            async with asyncio.timeout(FIRST_READ_S):
                for collection in (self._services, self._revisions):
                    await self._list(collection)
        except TimeoutError:
            raise OSError("the Serving API did not answer in time") from None
        except ClusterError as refused:
            await self._drop_cluster()
            code = f" {refused.status}" if refused.status else ""
            raise OSError(f"the Serving API cannot be read ({refused.reason}{code})") from None
        finally:
            self._follow()

    async def until(self, true: Callable[[ServiceState], bool]) -> ServiceState:
        """Wait for a state. Set a deadline around it."""
        async with self._changed:
            await self._changed.wait_for(lambda: true(self.state))
        return self.state

    def facts(self) -> dict[str, object]:
        """What an operator wants to see."""
        return {"service": self._service, "watched": self.current, **self.state.facts()}

    async def aclose(self) -> None:
        """Stop following. Safe to call twice."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._drop_cluster()

    def _follow(self) -> None:
        self._tasks = [
            asyncio.create_task(self._forever(each)) for each in (self._services, self._revisions)
        ]

    async def _forever(self, collection: "_Collection") -> None:
        failures, last = 0, None
        while True:
            try:
                if not collection.version:
                    await self._list(collection)
                await self._watch(collection)
                failures, last = 0, None
                await asyncio.sleep(_pause(0))
            except ClusterError as ended:
                collection.watched = False
                if ended.status in (400, 410):
                    # Too old to go on from: the API has forgotten what happened since.
                    collection.version = ""
                elif ended.status == 401:
                    await self._drop_cluster()  # the token is read anew with the next client
                _log.info(
                    "serving_watch_ended",
                    of=collection.plural,
                    error=ended.reason,
                    code=ended.status,
                )
                # An API that fails in another way than before has come back, or is about to.
                failures = failures + 1 if ended.status == last else 1
                last = ended.status
                await asyncio.sleep(_pause(failures))

    async def _list(self, collection: "_Collection") -> None:
        cluster = await self._connected()
        collection.replace(await cluster.list(collection.plural, collection.selector))
        await self._publish()

    async def _watch(self, collection: "_Collection") -> None:
        cluster = await self._connected()
        events = cluster.watch(
            collection.plural, collection.selector, version=collection.version, for_s=self._watch_s
        )
        collection.watched = True
        async for event in events:
            if collection.apply(event):
                await self._publish()

    async def _connected(self) -> Cluster:
        async with self._opening:
            if self._cluster is None:
                self._cluster = await self._open_cluster()
            return self._cluster

    async def _drop_cluster(self) -> None:
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            await cluster.aclose()

    async def _publish(self) -> None:
        service = self._services.objects.get(self._service)
        if service is None and self.state == ServiceState():
            return
        before = self.state
        self.state = read_service(service or {}, self._revisions.objects.values())
        if before.latest_ready != self.state.latest_ready:
            _log.info(
                "revision_became_ready", revision=self.state.latest_ready, was=before.latest_ready
            )
        async with self._changed:
            self._changed.notify_all()


async def look(settings: ServingApi) -> ServiceState | None:
    """The service as it is at this moment; None: there is none of that name.

    Raises:
        ClusterError: the API cannot be asked.
    """
    services, revisions = _collections(settings.service)
    cluster = await Cluster.open(settings)
    try:
        for each in (services, revisions):
            each.replace(await cluster.list(each.plural, each.selector))
    finally:
        await cluster.aclose()
    service = services.objects.get(settings.service)
    return None if service is None else read_service(service, revisions.objects.values())


def _collections(service: str) -> tuple["_Collection", "_Collection"]:
    """The service itself, and its revisions."""
    return (
        _Collection("services", {"fieldSelector": f"metadata.name={service}"}),
        _Collection("revisions", {"labelSelector": f"serving.knative.dev/service={service}"}),
    )


class _Collection:
    """The objects of one kind by name, and the version they are of."""

    def __init__(self, plural: str, selector: dict[str, str]) -> None:
        self.plural = plural
        self.selector = selector
        self.objects: dict[str, dict[str, Any]] = {}
        self.version = ""
        self.watched = False

    def replace(self, listed: dict[str, Any]) -> None:
        items = listed.get("items")
        found = (
            [each for each in items if isinstance(each, dict)] if isinstance(items, list) else []
        )
        # A list comes by name, so the revisions that take traffic stand at its end.
        newest = sorted(found, key=_age)[-_MAX_OBJECTS:]
        self.objects = {_meta(each, "name"): each for each in newest}
        self.version = _meta(listed, "resourceVersion")

    def apply(self, event: dict[str, Any]) -> bool:
        """Whether an object changed; a bookmark only says how far the watch has come."""
        seen = event.get("object")
        if not isinstance(seen, dict):
            return False
        self.version = _meta(seen, "resourceVersion") or self.version
        name = _meta(seen, "name")
        match event.get("type"):
            case "ADDED" | "MODIFIED":
                self.objects[name] = seen
                if len(self.objects) > _MAX_OBJECTS:
                    oldest = min(self.objects.values(), key=_age)
                    del self.objects[_meta(oldest, "name")]
            case "DELETED":
                self.objects.pop(name, None)
            case _:
                return False
        return True


def _meta(seen: dict[str, Any], name: str) -> str:
    meta = seen.get("metadata")
    value = meta.get(name) if isinstance(meta, dict) else None
    return value if isinstance(value, str) else ""


def _age(seen: dict[str, Any]) -> tuple[str, str]:
    """Sorts the oldest first: RFC 3339 in UTC sorts like the moments, revisions' names count up."""
    return _meta(seen, "creationTimestamp"), _meta(seen, "name")


def _pause(failures: int) -> float:
    """Full jitter: gateways that lost the API together do not come back together."""
    first, most = BACK_OFF_S
    return random.uniform(0, min(first * 2**failures, most))  # noqa: S311 - no secret
