"""The host application as extensions meet it: internal APIs and routes, on a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.fakes.host_storage import HostStorage

TOKEN = "runner-token"
_STORAGE = "/api/internal/ext-storage/install/"


@dataclass(frozen=True)
class Seen:
    method: str
    raw_path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class HostApp:
    """Answers every request with `status`, `body` and `headers`, and remembers it.

    Operations on entries are answered by `storage`, while there is one.
    """

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    storage: HostStorage | None = field(default_factory=lambda: HostStorage(TOKEN))
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
        if self.storage is not None and request.path.startswith(_STORAGE):
            install_id = request.path.removeprefix(_STORAGE)
            status, said = self.storage.answer(install_id, headers.get("x-runner-auth"), body)
            return web.json_response(said, status=status)
        return web.Response(status=self.status, body=self.body, headers=self.headers)

    def says(self, status: int, document: object) -> None:
        """Answer whatever is asked, entries included, with this."""
        self.storage, self.status, self.body = None, status, orjson.dumps(document)


@asynccontextmanager
async def serving() -> AsyncIterator[HostApp]:
    """A host application that answers, at its `url`."""
    fake = HostApp()
    fake.may_answer.set()
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", fake.answer)
    async with TestServer(application, host="127.0.0.1") as server:
        fake.url = str(server.make_url("")).rstrip("/")
        yield fake
        fake.may_answer.set()
