"""The few requests that are made to an engine: all read-only, each with a deadline.

A socket proxy needs to allow containers/json, inspect, events, logs and version, and no more.
Access to the socket is as good as root, so neither its path nor the engine's own texts leave here.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Final

import aiohttp
import orjson
from aiodocker import Docker
from aiodocker.exceptions import DockerError

from backends.docker_engine.address import EngineAddress
from backends.docker_engine.documents import MAX_OWNERS, Document, network_owner

ANSWER_S: Final = 5.0
DIAL_S: Final = 2.0
MAX_CONTAINERS: Final = 64
CHUNK_BYTES: Final = 64 * 1024

_CHANGES: Final = frozenset({
    "start", "die", "destroy", "pause", "unpause", "rename", "update", "health_status",
    "connect", "disconnect",
    # What Podman before 5 calls "die" and "destroy" in its filters, whatever its events say.
    "died", "remove",
})  # fmt: skip


class EngineError(Exception):
    """The engine did not answer as it should.

    Args:
        reason: one machine word; never the engine's text, which may quote paths.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Engine:
    """A connection pool to one engine. Build it inside a running event loop.

    Raises:
        EngineError: the certificates that TLS needs cannot be used.
    """

    def __init__(self, address: EngineAddress) -> None:
        self.address = address
        connector: aiohttp.BaseConnector
        if address.scheme == "unix":
            connector = aiohttp.UnixConnector(address.url.removeprefix("unix://"))
            base_url = "http://docker"
        else:
            try:
                tls = address.tls()
            except OSError:  # ssl.SSLError is one
                raise EngineError("engine_certificates_unusable") from None
            connector = aiohttp.TCPConnector(ssl=True if tls is None else tls)
            base_url = address.url
        timeout = aiohttp.ClientTimeout(total=ANSWER_S, sock_connect=DIAL_S)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        self._streams: set[aiohttp.ClientResponse] = set()
        # Everything is given, so that the library looks at no environment of its own.
        self._docker = Docker(
            url=base_url, connector=connector, session=self._session, timeout=timeout
        )

    async def containers(self, labels: Sequence[str]) -> list[Document]:
        """Inspect every container that has all of these labels, stopped ones included.

        Raises:
            EngineError: no answer; a container that vanished meanwhile is left out.
        """
        filters = orjson.dumps({"label": list(labels)}).decode()
        with _translated():
            listed = await self._docker.containers.list(all="1", filters=filters)
        ids = sorted(container.id for container in listed)[:MAX_CONTAINERS]
        async with asyncio.TaskGroup() as inspecting:
            tasks = [inspecting.create_task(self._inspect_or_fault(each)) for each in ids]
        return [document for task in tasks if (document := _unwrap(task.result())) is not None]

    async def inspect(self, name: str) -> Document | None:
        """One container by id or name; None when there is no such container.

        Raises:
            EngineError: no answer.
        """
        with _translated():
            try:
                return await self._docker.containers.container(name).show()
            except DockerError as failure:
                if failure.status == 404:
                    return None
                raise

    async def owners(self, documents: Sequence[Document]) -> dict[str, Document]:
        """The containers whose network these use (`network_mode: container:X`), by that X."""
        found: dict[str, Document] = {}
        pending = list(documents)
        for _ in range(MAX_OWNERS):
            names = {name for each in pending if (name := network_owner(each))} - found.keys()
            pending = []
            for name in sorted(names):
                if (document := await self.inspect(name)) is not None:
                    found[name] = document
                    pending.append(document)
        return found

    async def _inspect_or_fault(self, name: str) -> Document | EngineError | None:
        try:
            return await self.inspect(name)
        except EngineError as failure:
            return failure  # raised by one, it would reach the caller as a group

    async def changes(self, *, since: str) -> AsyncGenerator[str, None]:
        """What happens to containers and their networks, as it happens; ends with the stream.

        Args:
            since: "seconds.nanoseconds" since the epoch; what happened from then on comes first.

        Close the generator. Raises EngineError when the engine cannot be reached.
        """
        events = self._docker.events
        subscriber = events.subscribe(create_task=False)  # type: ignore[no-untyped-call]
        kinds = {"type": ["container", "network"], "event": sorted(_CHANGES)}
        listening = asyncio.create_task(
            events.run(filters=orjson.dumps(kinds).decode(), since=since), name="docker-events"
        )
        try:
            while (event := await subscriber.get()) is not None:
                action = str(event.get("Action", "")).partition(":")[0]
                if action in _CHANGES:
                    yield action
            with _translated():
                await listening
        finally:
            listening.cancel()
            await asyncio.wait([listening])
            if not listening.cancelled():
                listening.exception()  # it was raised above, or nobody is left to tell

    async def logs(
        self, container_id: str, *, follow: bool, since: str | None, tail: int | None
    ) -> AsyncGenerator[bytes, None]:
        """A container's log as the engine frames it, each message with its instant before it.

        Args:
            since: "seconds.nanoseconds" since the epoch, inclusive.
            tail: how many of the last lines; None for all.

        Close the generator. Raises EngineError.
        """
        params = {
            "stdout": "1",
            "stderr": "1",
            "timestamps": "1",
            "follow": "1" if follow else "0",
            "tail": "all" if tail is None else str(tail),
        }
        if since is not None:
            params["since"] = since
        if self._docker.api_version == "auto":
            with _translated():
                await self._docker.version()  # settles which version both sides speak
        # The library's own reader never caps a line.
        url = f"{self._docker.docker_host}/{self._docker.api_version}/containers/{container_id}"
        # A quiet container says nothing for hours; without `follow` the answer must end.
        timeout = aiohttp.ClientTimeout(
            total=None if follow else 60.0, sock_connect=DIAL_S, sock_read=None
        )
        with _translated():
            async with asyncio.timeout(ANSWER_S):
                response = await self._session.get(f"{url}/logs", params=params, timeout=timeout)
            self._streams.add(response)
            try:
                if response.status != 200:
                    raise EngineError(f"engine_said_{response.status}")
                async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                    yield chunk
            finally:
                self._streams.discard(response)
                response.close()

    async def aclose(self) -> None:
        """Close every connection; streams end with an EngineError."""
        for response in tuple(self._streams):
            response.close()  # closing the session alone would leave their readers waiting
        await self._docker.close()
        await self._session.close()


def _unwrap(outcome: Document | EngineError | None) -> Document | None:
    if isinstance(outcome, EngineError):
        raise outcome
    return outcome


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Not chained: the library's messages quote the engine, and the path of its socket."""
    try:
        yield
    except TimeoutError:
        raise EngineError("engine_timeout") from None
    except DockerError as failure:
        reached = 400 <= failure.status < 600
        raise EngineError(
            f"engine_said_{failure.status}" if reached else "engine_unreachable"
        ) from None
    except (aiohttp.ClientError, OSError):
        raise EngineError("engine_unreachable") from None
    except (ValueError, KeyError, TypeError):
        raise EngineError("engine_answer_malformed") from None
