"""A double of the activator: holds calls while nothing runs, and answers for what it fronts."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp import web

from tests.rigs.knative.passing import Listener, open_session, pass_back, send_on, text

_LAST_START_S: Final = 60.0


@dataclass(slots=True)
class Backing:
    """One revision, as the activator knows it.

    Attributes:
        pod: the address of its queue-proxy; None while it has none.
        up: set while there is a pod.
        wake: starts a pod; called once for each time there is none.
    """

    wake: Callable[[], Awaitable[None]]
    pod: str | None = None
    up: asyncio.Event = field(default_factory=asyncio.Event)
    waking: asyncio.Task[None] | None = None

    def serve(self, pod: str | None) -> None:
        """There is a pod now; None: there is none any more."""
        self.pod = pod
        if pod is None:
            self.waking = None
            self.up.clear()
        else:
            self.up.set()


class Activator:
    """Holds, wakes and passes on.

    Attributes:
        revisions: by name; a call names its one in Knative-Serving-Revision.
        default: the revision of calls that come past the ingress.
        line: how many calls are held for one revision; more are refused.
        hold_s: how long a call is held before it is told so.
        holding: one entry for each call that began to be held: wait on it.
        held: calls that are held now.
        given_up: one entry for each held call whose caller left.
        probes: how many probes were answered here.
    """

    def __init__(self, *, line: int = 1000, hold_s: float = 60.0) -> None:
        self.revisions: dict[str, Backing] = {}
        self.default = ""
        self.line = line
        self.hold_s = hold_s
        self.holding: asyncio.Queue[str] = asyncio.Queue()
        self.given_up: asyncio.Queue[str] = asyncio.Queue()
        self.held = 0
        self.probes = 0
        self.draining = False
        self._listener = Listener(self._answer)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = open_session()
        await self._listener.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        waking = {each.waking for each in self.revisions.values() if each.waking is not None}
        if waking:  # a pod that is half up is let come up, so that it can be stopped
            await asyncio.wait(waking, timeout=_LAST_START_S)
        await self._listener.stop()
        if self._session is not None:
            await self._session.close()

    @property
    def url(self) -> str:
        return self._listener.url

    @property
    def port(self) -> int:
        return self._listener.port

    async def stop(self) -> None:
        """Gone: connections are refused from now on."""
        await self._listener.stop()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if (probe := self._probe(request)) is not None:
            return probe
        name = request.headers.get("knative-serving-revision", self.default)
        backing = self.revisions.get(name)
        if backing is None:
            return text(
                404,
                f'Error getting active endpoint: revision.serving.knative.dev "{name}" not found',
            )
        if not backing.up.is_set() and (refusal := await self._hold(name, backing)) is not None:
            return refusal
        return await self._proxied(request, backing)

    def _probe(self, request: web.BaseRequest) -> web.Response | None:
        agent = request.headers.get("user-agent", "")
        asked = request.headers.get("k-network-probe", "")
        if agent.startswith("kube-probe/") or (agent == "Knative-Ingress-Probe" and asked):
            self.probes += 1
            if self.draining:
                return text(503, "shutting down")
            return web.Response(headers={"k-network-hash": "rig"})
        return None

    async def _hold(self, name: str, backing: Backing) -> web.Response | None:
        if self.held >= self.line:
            return text(503, "pending request queue full")
        if backing.waking is None:
            backing.waking = asyncio.create_task(_run(backing.wake))
        self.held += 1
        self.holding.put_nowait(name)
        try:
            async with asyncio.timeout(self.hold_s):
                await backing.up.wait()
        except TimeoutError:
            return text(503, "context deadline exceeded")
        except asyncio.CancelledError:
            self.given_up.put_nowait(name)
            raise
        finally:
            self.held -= 1
        return None

    async def _proxied(self, request: web.BaseRequest, backing: Backing) -> web.StreamResponse:
        assert self._session is not None
        seen = request.headers.get("x-forwarded-for", "127.0.0.1")
        added = {
            "k-proxy-request": "activator",
            "forwarded": request.headers.get("forwarded", f"for={seen}"),
            "x-forwarded-for": f"{seen}, 127.0.0.1",
        }
        pod = backing.pod or ""
        try:
            answer = await send_on(self._session, request, pod, added)
        except aiohttp.ClientConnectorError:
            where = pod.removeprefix("http://")
            return text(502, f"dial tcp {where}: connect: connection refused")
        except (aiohttp.ClientError, OSError):
            return text(502, "EOF")
        with suppress(ConnectionResetError):
            return await pass_back(answer, request)
        return web.Response(status=499)


async def _run(wake: Callable[[], Awaitable[None]]) -> None:
    await wake()
