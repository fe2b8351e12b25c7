"""A Docker engine as far as the gateway asks one: the Engine API on a unix socket.

    async with FakeEngine(socket) as engine:
        engine.add(container("runner-1", port=8085))
        ...  # docker_host=f"unix://{socket}"
        engine.change("runner-1", "die", Status="exited", Running=False)

It tells what the real one tells, nulls included, and can lose its streams or go away.
"""

import asyncio
import json
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

Document = dict[str, Any]

API_VERSION = "1.41"
STARTED = "2026-11-23T14:00:00.000000001Z"


def container(
    name: str,
    *,
    port: int | None = None,
    project: str = "dev",
    service: str = "extension-runner",
    number: int = 1,
    health: str | None = "healthy",
    status: str = "running",
    oneoff: bool = False,
    tty: bool = False,
    container_id: str | None = None,
    labels: dict[str, str] | None = None,
) -> Document:
    """What `inspect` says of a compose container; port None: exposed and not published."""
    bindings = None if port is None else [{"HostIp": "127.0.0.1", "HostPort": str(port)}]
    state: Document = {
        "Status": status,
        "Running": status in ("running", "paused"),
        "Paused": status == "paused",
        "Restarting": status == "restarting",
        "Dead": False,
        "StartedAt": STARTED,
    }
    if health is not None:
        state["Health"] = {"Status": health, "FailingStreak": 0}
    return {
        "Id": container_id or (name.encode().hex() * 64)[:64],
        "Name": f"/{name}",
        "Image": "sha256:" + "1f" * 32,
        "State": state,
        "Config": {
            "Image": "example/runner:1",
            "Hostname": "abc",
            "Tty": tty,
            "Env": ["RUNNER_SERVICE_TOKEN=hush-hush-hush"],
            "ExposedPorts": {"8080/tcp": {}},
            "Labels": {
                "com.docker.compose.project": project,
                "com.docker.compose.service": service,
                "com.docker.compose.oneoff": str(oneoff),
                "com.docker.compose.container-number": str(number),
                **(labels or {}),
            },
        },
        "HostConfig": {"NetworkMode": f"{project}_default"},
        "NetworkSettings": {
            "Ports": {"8080/tcp": bindings},
            "Networks": {
                f"{project}_default": {"IPAddress": "172.18.0.2", "GlobalIPv6Address": ""}
            },
        },
    }


def frame(text: str, *, stream: int = 1) -> bytes:
    """One message as the engine frames it without a terminal."""
    payload = text.encode()
    return struct.pack(">BxxxL", stream, len(payload)) + payload


class FakeEngine:
    """Listens on `socket` between `async with` and its end.

    Attributes:
        containers: inspect documents by id; change them through `add`, `change`, `remove`.
        written: log messages by container id: (instant, stream, text).
        asked: every question so far, without the version.
        log_params: the parameters of every request for a log.
        log_opened: set once somebody reads a log.
        silent: changes happen, and no event tells of them.
        filtered_as: by which words filters know events, where it is not the event's own.
    """

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.containers: dict[str, Document] = {}
        self.written: dict[str, list[tuple[str, int, str]]] = {}
        self.asked: list[str] = []
        self.log_params: list[dict[str, str]] = []
        self.log_opened = asyncio.Event()
        self.silent = False
        self.filtered_as: dict[str, str] = {}
        self.may_listen = asyncio.Event()  # cleared: streams of events begin later
        self.may_listen.set()
        self._past: list[tuple[float, Document]] = []
        self._streams: dict[asyncio.Queue[Document | None], None] = {}
        self._streaming = asyncio.Condition()
        self._written = asyncio.Condition()
        self._listing = asyncio.Condition()
        self._runner: web.AppRunner | None = None

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

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    async def start(self) -> None:
        """Listen; after a stop, on the same socket again."""
        app = web.Application()
        app.router.add_get("/version", self._version)
        prefix = "/v" + API_VERSION
        app.router.add_get(prefix + "/version", self._version)
        app.router.add_get(prefix + "/containers/json", self._list)
        app.router.add_get(prefix + "/containers/{id}/json", self._inspect)
        app.router.add_get(prefix + "/containers/{id}/logs", self._logs)
        app.router.add_get(prefix + "/events", self._events)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self.socket)).start()

    async def stop(self) -> None:
        """Go away with every stream; the containers stay as they are."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            self.drop_streams()
            await runner.cleanup()
            self.socket.unlink(missing_ok=True)

    def drop_streams(self) -> None:
        """End the event streams, as an engine does that restarts."""
        for stream in self._streams:
            stream.put_nowait(None)

    async def listened_to(self) -> None:
        """Wait until somebody listens for events."""
        async with self._streaming:
            await self._streaming.wait_for(lambda: bool(self._streams))

    async def listed(self, times: int) -> None:
        """Wait until containers were listed as often as that."""
        async with self._listing:
            await self._listing.wait_for(lambda: self.asked.count("containers/json") >= times)

    def add(self, document: Document) -> str:
        """A container starts; returns its id."""
        self.containers[document["Id"]] = deepcopy(document)
        self._tell("start", document["Id"])
        return str(document["Id"])

    def change(self, name: str, action: str, **state: Any) -> None:
        """A container's state changes, and an event says so."""
        document = self._named(name)
        health = state.pop("health", None)
        document["State"].update(state)
        if health is not None:
            document["State"]["Health"] = {"Status": health}
        self._tell(action, document["Id"])

    def kill(self, name: str) -> None:
        self.change(name, "die", Status="exited", Running=False)

    def remove(self, name: str) -> None:
        document = self._named(name)
        del self.containers[document["Id"]]
        self._tell("destroy", document["Id"])

    async def write(self, name: str, at: str, text: str, *, stream: int = 1) -> None:
        """A container writes a message; give the line end along."""
        async with self._written:
            self.written.setdefault(self._named(name)["Id"], []).append((at, stream, text))
            self._written.notify_all()

    async def wake_readers(self) -> None:
        """Let followers notice that their container stopped."""
        async with self._written:
            self._written.notify_all()

    def _named(self, name: str) -> Document:
        return next(each for each in self.containers.values() if each["Name"] == f"/{name}")

    def _tell(self, action: str, container_id: str) -> None:
        if self.silent:
            return
        event = {"Type": "container", "Action": action, "id": container_id}
        self._past.append((time.time(), event))
        for stream in self._streams:
            stream.put_nowait(event)

    async def _version(self, request: web.Request) -> web.Response:
        return web.json_response({"ApiVersion": API_VERSION, "Version": "20.10.24"})

    async def _list(self, request: web.Request) -> web.Response:
        async with self._listing:
            self.asked.append("containers/json")
            self._listing.notify_all()
        wanted = json.loads(request.query.get("filters", "{}")).get("label", [])
        return web.json_response([
            {"Id": each["Id"], "Names": [each["Name"]]}
            for each in self.containers.values()
            if all(_has(each["Config"]["Labels"], label) for label in wanted)
        ])  # fmt: skip

    async def _inspect(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        self.asked.append(f"containers/{name}/json")
        for key, each in self.containers.items():
            if key.startswith(name) or each["Name"] == f"/{name}":
                return web.json_response(each)
        return web.json_response({"message": f"No such container: {name}"}, status=404)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        self.asked.append("events")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            await response.prepare(request)
        except ConnectionError:  # who only looked once has gone already
            return response
        mine: asyncio.Queue[Document | None] = asyncio.Queue()
        await self.may_listen.wait()
        since = float(request.query.get("since", "inf"))
        for at, past in self._past:
            if at >= since:
                mine.put_nowait(past)
        wanted = json.loads(request.query.get("filters", "{}")).get("event", [])
        async with self._registered(mine):
            while (event := await mine.get()) is not None:
                word = event["Action"].partition(":")[0]
                if self.filtered_as.get(word, word) not in wanted:
                    continue
                await response.write(json.dumps(event).encode() + b"\n")
        return response

    @asynccontextmanager
    async def _registered(self, stream: asyncio.Queue[Document | None]) -> AsyncIterator[None]:
        async with self._streaming:
            self._streams[stream] = None
            self._streaming.notify_all()
        try:
            yield
        finally:
            del self._streams[stream]

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        container_id = request.match_info["id"]
        params = dict(request.query)
        self.asked.append(f"containers/{container_id}/logs")
        self.log_params.append(params)
        if container_id not in self.containers:
            return web.json_response({"message": "No such container"}, status=404)
        tty = self.containers[container_id]["Config"]["Tty"]
        response = web.StreamResponse()  # the real one sets no content type either
        await response.prepare(request)
        self.log_opened.set()
        since = params.get("since")
        messages = self.written.setdefault(container_id, [])
        old = [each for each in messages if since is None or _seconds(each[0]) >= since]
        if params["tail"] != "all":
            old = old[max(len(old) - int(params["tail"]), 0) :]
        told = len(messages)
        for message in old:
            await response.write(_spelled(message, tty=tty))
        while params["follow"] == "1" and self._runs(container_id):
            for message in await self._more(container_id, told):
                told += 1
                await response.write(_spelled(message, tty=tty))
        return response

    async def _more(self, container_id: str, told: int) -> list[tuple[str, int, str]]:
        """What was written after the first `told` messages; nothing once the container stopped."""
        messages = self.written[container_id]
        async with self._written:
            await self._written.wait_for(
                lambda: len(messages) > told or not self._runs(container_id)
            )
        return messages[told:]

    def _runs(self, container_id: str) -> bool:
        document = self.containers.get(container_id)
        return document is not None and bool(document["State"]["Running"])


def _spelled(message: tuple[str, int, str], *, tty: bool) -> bytes:
    at, stream, text = message
    return f"{at} {text}".encode() if tty else frame(f"{at} {text}", stream=stream)


def _seconds(instant: str) -> str:
    from backends.docker_engine.log_follow import since  # the engine's own unit

    return since(instant)


def _has(labels: dict[str, str], wanted: str) -> bool:
    name, equals, value = wanted.partition("=")
    return name in labels and (not equals or labels[name] == value)
