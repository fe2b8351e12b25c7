"""The host application as extensions meet it: internal APIs and routes, on a real socket."""

import asyncio
from dataclasses import dataclass, field

from aiohttp import web


@dataclass(frozen=True)
class Seen:
    method: str
    raw_path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class HostApp:
    """Answers every request with `status`, `body` and `headers`, and remembers it."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    asked: asyncio.Queue[None] = field(default_factory=asyncio.Queue)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.read()
        self.seen.append(Seen(request.method, request.raw_path, headers, body))
        self.asked.put_nowait(None)
        await self.may_answer.wait()
        return web.Response(status=self.status, body=self.body, headers=self.headers)
