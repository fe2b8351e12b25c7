"""A registry that speaks the install-config call and can misbehave on request."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType

from aiohttp import web

TOKEN = "registry-token-for-tests"

Misbehaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeRegistry:
    """`async with FakeRegistry() as registry: registry.url`.

    `installs` maps (tenant, extension) to the answer's members; `misbehave`, when set,
    answers instead; while `may_answer` is clear every question waits.
    """

    def __init__(self) -> None:
        self.installs: dict[tuple[str, str], dict[str, object]] = {}
        self.misbehave: Misbehaviour | None = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.asked: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.questions = 0
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> "FakeRegistry":
        app = web.Application()
        app.router.add_post("/base/api/internal/ext-runner/install-config", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/base"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Stop listening: the next question finds nobody."""
        self.may_answer.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.questions += 1
        question = await request.json()
        key = (question["tenantId"], question["extensionId"])
        self.asked.put_nowait(key)
        await self.may_answer.wait()
        if self.misbehave is not None:
            return await self.misbehave(request)
        if request.headers.get("x-runner-auth") != TOKEN:
            return web.json_response({"error": "unauthorized"}, status=401)
        if key not in self.installs:
            return web.json_response({"error": "install_not_found"}, status=404)
        return web.json_response({"tenantId": key[0], **self.installs[key]})
