"""A web site that guests fetch from, and the names under which they look for it."""

import asyncio
import gzip
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import orjson
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from backends.embedded.host.egress import MAX_RESPONSE_BYTES


class NameBook(AbstractResolver):
    """A name service under the test's control: no real one lies twice on request."""

    def __init__(self, answers: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self.answers = {host: list(rounds) for host, rounds in answers.items()}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        if not self.answers.get(host):
            raise OSError(None, "no such name")
        rounds = self.answers[host]
        addresses = rounds.pop(0) if len(rounds) > 1 else rounds[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


@dataclass
class Site:
    """Counts its visitors; each path misbehaves in its own way."""

    visits: list[str] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_route("*", "/{rest:.*}", self._answer)
        return application

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.visits.append(request.raw_path)
        match request.path:
            case "/moved":
                return web.Response(status=302, headers={"Location": "/elsewhere"})
            case "/cookie":
                return web.Response(
                    headers={"Set-Cookie": "a=1", "X-Word": "gr\u00fc\u00df"},
                    text=request.headers.get("Cookie", "none"),
                )
            case "/repeated":
                response = web.Response()
                response.headers.extend([("X-Twice", "1"), ("X-Twice", "2")])
                return response
            case "/gzip":
                packed = gzip.compress(b"hello")
                return web.Response(body=packed, headers={"Content-Encoding": "gzip"})
            case "/large":
                return web.Response(body=bytes(MAX_RESPONSE_BYTES + 1))
            case "/largest":
                return web.Response(body=bytes(MAX_RESPONSE_BYTES))
            case "/endless":
                return await self._pour(request)
            case "/broken":
                return await self._break_off(request)
            case "/silent":
                self.asked.set()
                await asyncio.Event().wait()
        return await self._echo(request)

    async def _echo(self, request: web.Request) -> web.Response:
        headers = [[name.lower(), value] for name, value in request.headers.items()]
        body = await request.text()
        seen = {"method": request.method, "target": request.raw_path, "body": body}
        return web.Response(body=orjson.dumps({**seen, "headers": headers}), status=418)

    async def _pour(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(64 * 1024))

    async def _break_off(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response
