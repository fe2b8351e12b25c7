"""A double of queue-proxy: breaker, three timers, probes, and a quiet end.

Observed habits that matter: a timer that fires before the answer has begun is a 504, but one
that fires later writes `request timeout` behind what was sent and ends the answer properly.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp import web

from tests.rigs.knative.passing import Listener, open_session, pass_back, send_on, text

TIMEOUT_TEXT: Final = "request timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """What a revision's specification says; the names are its own."""

    container_concurrency: int = 0  # 0: no bound
    timeout_s: float = 300.0
    response_start_s: float = 300.0
    idle_s: float = 0.0  # 0: none

    @property
    def line(self) -> int:
        """How many calls may wait for a place."""
        return 10 * self.container_concurrency


class QueueProxy:
    """Stands in front of one runner.

    Attributes:
        received: requests that came in, probes left out.
        passed: those that were passed on to the runner.
        tokens: what Authorization must be one of, as where an audience is asked for; None: any.
        refused: requests without one of them.
        draining: a SIGTERM came; probes fail, calls are answered as before.
    """

    def __init__(self, runner_url: str, limits: QueueLimits = QueueLimits()) -> None:
        self.runner_url = runner_url
        self.limits = limits
        self.received = self.passed = 0
        self.draining = False
        self.tokens: set[str] | None = None
        self.refused = 0
        self.waiting: asyncio.Queue[None] = asyncio.Queue()
        self._running = self._in_line = 0
        self._last = time.monotonic()
        self._free = asyncio.Condition()
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
        await self._listener.stop()
        if self._session is not None:
            await self._session.close()

    @property
    def url(self) -> str:
        return self._listener.url

    async def drain(self, *, quiet_s: float) -> None:
        """What SIGTERM does: fail probes, go on answering until it was quiet for a while."""
        self.draining = True
        self._last = time.monotonic()
        while True:
            left = self._last + quiet_s - time.monotonic()
            if left <= 0 and not self._running:
                return
            await asyncio.sleep(max(left, 0.01))

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if (probe := self._probe(request)) is not None:
            return probe
        if self.tokens is not None and request.headers.get("authorization") not in self.tokens:
            self.refused += 1
            return text(401, "unauthorized")
        self.received += 1
        self._last = time.monotonic()
        bound = self.limits.container_concurrency
        if not bound:
            return await self._counted(request)
        async with self._free:
            if self._running >= bound:
                if self._in_line >= self.limits.line:
                    return text(503, "pending request queue full")
                self._in_line += 1
                self.waiting.put_nowait(None)
                try:
                    async with asyncio.timeout(self.limits.response_start_s):
                        await self._free.wait_for(lambda: self._running < bound)
                except TimeoutError:
                    return text(504, TIMEOUT_TEXT)
                finally:
                    self._in_line -= 1
            self._running += 1
        try:
            return await self._counted(request, reserved=True)
        finally:
            async with self._free:
                self._free.notify_all()

    async def _counted(
        self, request: web.BaseRequest, *, reserved: bool = False
    ) -> web.StreamResponse:
        self._running += not reserved
        try:
            return await self._proxied(request)
        finally:
            self._running -= 1
            self._last = time.monotonic()

    def _probe(self, request: web.BaseRequest) -> web.Response | None:
        agent = request.headers.get("user-agent", "")
        asked = request.headers.get("k-network-probe", "")
        if agent.startswith("kube-probe/") and not asked:
            return text(400, "unexpected probe header value: ")
        if agent not in ("Knative-Activator-Probe", "Knative-Ingress-Probe"):
            return None  # the header alone reaches the runner
        if self.draining:
            return text(503, "shutting down")
        if asked in ("queue", "probe"):
            return web.Response(text="queue" if asked == "queue" else "")
        return text(400, f"unexpected probe header value: {asked}")

    async def _proxied(self, request: web.BaseRequest) -> web.StreamResponse:
        assert self._session is not None
        self.passed += 1
        began = time.monotonic()
        limits = self.limits
        try:
            async with asyncio.timeout(min(limits.response_start_s, limits.timeout_s)):
                answer = await send_on(self._session, request, self.runner_url, {})
        except TimeoutError:
            return text(504, TIMEOUT_TEXT)
        except aiohttp.ClientConnectorError:
            where = self.runner_url.removeprefix("http://")
            return text(502, f"dial tcp {where}: connect: connection refused")
        except (aiohttp.ClientError, OSError):
            return text(502, "EOF")

        async def timed(read: Callable[[], Awaitable[bytes]]) -> bytes:
            left = began + limits.timeout_s - time.monotonic()
            async with asyncio.timeout(min(left, limits.idle_s or left)):
                return await read()

        with suppress(ConnectionResetError):
            return await pass_back(answer, request, read=timed, cut_off=TIMEOUT_TEXT.encode())
        return web.Response(status=499)  # the caller left; nobody reads this
