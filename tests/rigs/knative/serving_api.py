"""A double of the Kubernetes API as far as Knative objects are read: list, watch, 401, 410."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web

from tests.rigs.knative.passing import Listener

NAMESPACE: Final = "extensions"
_PREFIX: Final = f"/apis/serving.knative.dev/v1/namespaces/{NAMESPACE}/"
_KINDS: Final = {"services": "Service", "revisions": "Revision"}

Object = dict[str, Any]


class ServingApi:
    """Objects in a history that can be followed, and forgotten.

    Attributes:
        tokens: who may ask. Empty it and the tokens that are out there have expired.
        lists, watches, refused: how often each was asked for, or 401.
        watched_from: the version that each watch went on from.
    """

    def __init__(self) -> None:
        self.tokens = {"api-token"}
        self.lists = self.watches = self.refused = 0
        self.watched_from: list[int] = []
        self._version = 100
        self._oldest = 0
        self._objects: dict[tuple[str, str], Object] = {}
        self._history: list[tuple[int, str, str, Object]] = []  # version, plural, type, object
        self._changed = asyncio.Condition()
        self._ended = 0
        self._listener = Listener(self._answer)

    async def __aenter__(self) -> Self:
        await self._listener.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.end_watches()
        await self._listener.stop()

    @property
    def url(self) -> str:
        return self._listener.url

    async def stop(self) -> None:
        """The API is away: connections are refused, watches break off."""
        await self._listener.stop()

    async def start(self) -> None:
        await self._listener.start()

    def kubeconfig(self, folder: Path) -> Path:
        """A kubeconfig that leads here, with its token in a file beside it."""
        token, path = folder / "api-token", folder / "kubeconfig"
        token.write_text(next(iter(self.tokens)))
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "rig",
                    "clusters": [{"name": "rig", "cluster": {"server": self.url}}],
                    "users": [{"name": "rig", "user": {"tokenFile": str(token)}}],
                    "contexts": [{"name": "rig", "context": {"cluster": "rig", "user": "rig"}}],
                }
            )
        )
        return path

    async def put(self, plural: str, name: str, **parts: object) -> None:
        """Create or replace an object, and tell everyone who watches."""
        self._version += 1
        known = (plural, name) in self._objects
        seen: Object = {
            "apiVersion": "serving.knative.dev/v1",
            "kind": _KINDS[plural],
            **parts,
        }
        seen["metadata"] = {
            **seen.get("metadata", {}),
            "name": name,
            "namespace": NAMESPACE,
            "resourceVersion": str(self._version),
        }
        self._objects[plural, name] = seen
        await self._tell(plural, "MODIFIED" if known else "ADDED", seen)

    async def delete(self, plural: str, name: str) -> None:
        self._version += 1
        seen = self._objects.pop((plural, name))
        seen = {**seen, "metadata": {**seen["metadata"], "resourceVersion": str(self._version)}}
        await self._tell(plural, "DELETED", seen)

    async def bookmark(self) -> int:
        """Say how far everyone has come, as the real one does every minute or so."""
        self._version += 1
        for plural in _KINDS:
            mark = {"kind": _KINDS[plural], "metadata": {"resourceVersion": str(self._version)}}
            await self._tell(plural, "BOOKMARK", mark)
        return self._version

    def forget(self) -> None:
        """Compaction: nobody can go on from before now."""
        self._version += 1
        self._oldest = self._version
        self._history.clear()

    async def end_watches(self) -> None:
        """End every watch in good order, as its timeout does."""
        async with self._changed:
            self._ended += 1
            self._changed.notify_all()

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until a condition on the counters holds. Set a deadline around it."""
        async with self._changed:
            await self._changed.wait_for(true)

    async def _tell(self, plural: str, kind: str, seen: Object) -> None:
        async with self._changed:
            self._history.append((self._version, plural, kind, seen))
            self._changed.notify_all()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        told = request.headers.get("authorization", "").removeprefix("Bearer ")
        async with self._changed:
            self._changed.notify_all()
        if told not in self.tokens:
            self.refused += 1
            return _status(401, "Unauthorized")
        path = request.rel_url.path
        plural = path.removeprefix(_PREFIX)
        if not path.startswith(_PREFIX) or plural not in _KINDS:
            return _status(404, "NotFound")
        query = request.rel_url.query
        if query.get("watch") == "true":
            since = int(query["resourceVersion"])
            self.watches += 1
            self.watched_from.append(since)
            return await self._watch(request, plural, since)
        self.lists += 1
        return web.json_response(
            {
                "kind": f"{_KINDS[plural]}List",
                "metadata": {"resourceVersion": str(self._version)},
                "items": [seen for (kind, _), seen in self._objects.items() if kind == plural],
            }
        )

    async def _watch(self, request: web.BaseRequest, plural: str, since: int) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        if since < self._oldest:
            expired = {"kind": "Status", "reason": "Expired", "code": 410, "message": "too old"}
            await response.write(_line("ERROR", expired))
            return response
        ended = self._ended
        while self._ended == ended:
            for version, kind, seen in self._after(since, plural):
                await response.write(_line(kind, seen))
                since = version
            async with self._changed:
                if not any(self._after(since, plural)) and self._ended == ended:
                    await self._changed.wait()
        return response

    def _after(self, since: int, plural: str) -> Iterator[tuple[int, str, Object]]:
        for version, each, kind, seen in tuple(self._history):
            if version > since and each == plural:
                yield version, kind, seen


def _line(kind: str, seen: Object) -> bytes:
    return json.dumps({"type": kind, "object": seen}).encode() + b"\n"


def _status(code: int, reason: str) -> web.Response:
    return web.json_response(
        {"kind": "Status", "status": "Failure", "reason": reason, "code": code}, status=code
    )
