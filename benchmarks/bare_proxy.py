"""The least that proxies with aiohttp: its server, its client, and nothing in between.

What the gateway is compared with to see what its own care costs. Not a proxy to use: it has
no limits, and it passes on whatever a client says. Arguments: a port and the runner's URL.
"""

import sys
from collections.abc import AsyncIterator, Iterable
from typing import Final

import uvloop
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web

_HOP_BY_HOP: Final = frozenset({"connection", "host", "keep-alive", "transfer-encoding"})
_SESSION: Final = web.AppKey("session", ClientSession)
_CHUNK_BYTES: Final = 64 * 1024


def create_app(runner_url: str) -> web.Application:
    """An application that passes everything to `runner_url`."""

    async def session(app: web.Application) -> AsyncIterator[None]:
        async with ClientSession(
            connector=TCPConnector(limit=256),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            timeout=ClientTimeout(total=30.0),
        ) as app[_SESSION]:
            yield

    async def forward(request: web.Request) -> web.StreamResponse:
        body = await request.read() if request.can_read_body else None
        async with request.app[_SESSION].request(
            request.method,
            runner_url + request.raw_path,
            headers=_end_to_end(request.headers.items()),
            data=body,
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(
                status=answer.status, headers=_end_to_end(answer.headers.items())
            )
            await response.prepare(request)
            async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                await response.write(chunk)
            await response.write_eof()
            return response

    app = web.Application()
    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", forward)
    return app


def _end_to_end(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: value for name, value in headers if name.lower() not in _HOP_BY_HOP}


if __name__ == "__main__":
    web.run_app(
        create_app(sys.argv[2]),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )
