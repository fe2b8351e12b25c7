"""Passing a request on and its answer back as a stream: what both proxies of the rig do."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

_HOP_BY_HOP: Final = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "trailer"}
_CHUNK: Final = 64 * 1024


def open_session() -> aiohttp.ClientSession:
    """A client that adds nothing and decides nothing."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=5),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        timeout=aiohttp.ClientTimeout(total=None),
    )
    session._retry_connection = False  # else it repeats GET and the like by itself
    return session


def text(status: int, words: str, **headers: str) -> web.Response:
    """An answer of a proxy's own, as Go's http.Error writes it."""
    named = {"x-content-type-options": "nosniff"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return web.Response(status=status, text=words, headers=named)


async def send_on(
    session: aiohttp.ClientSession,
    request: web.BaseRequest,
    url: str,
    added: Mapping[str, str],
) -> aiohttp.ClientResponse:
    """The head of the answer. Raises aiohttp.ClientError when there is none."""
    headers = CIMultiDict(
        (name, value)
        for name, value in request.headers.items()
        if name.lower() not in _HOP_BY_HOP and name.lower() not in {each.lower() for each in added}
    )
    headers.update(added)
    return await session.request(
        request.method,
        url + request.raw_path,
        headers=headers,
        data=request.content if request.body_exists else None,
        allow_redirects=False,
    )


async def pass_back(
    answer: aiohttp.ClientResponse,
    request: web.BaseRequest,
    *,
    read: Callable[[Callable[[], Awaitable[bytes]]], Awaitable[bytes]] | None = None,
    cut_off: bytes = b"",
) -> web.StreamResponse:
    """Stream the answer to whoever asked.

    Args:
        read: waits for the next part within the proxy's limits; TimeoutError ends the answer.
        cut_off: what is written behind an answer that was ended so; then it ends properly,
            unless its length was announced: that connection is broken off.
    """
    known_length = "content-length" in answer.headers
    response = web.StreamResponse(status=answer.status, reason=answer.reason)
    for name, value in answer.headers.items():
        if name.lower() not in _HOP_BY_HOP:
            response.headers.add(name, value)
    if not known_length and answer.status not in (204, 304) and request.method != "HEAD":
        response.enable_chunked_encoding()
    await response.prepare(request)

    async def part() -> bytes:
        return await answer.content.read(_CHUNK)

    try:
        while chunk := await (read(part) if read else part()):
            await response.write(chunk)
    except TimeoutError:
        if known_length:
            _break_off(request)
            return response
        await response.write(cut_off)
    except (aiohttp.ClientError, OSError):
        _break_off(request)
        return response
    finally:
        answer.close()
    with suppress(ConnectionError):
        await response.write_eof()
    return response


def _break_off(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()


class Listener:
    """A low-level HTTP server on a port of 127.0.0.1 that `answer` answers."""

    def __init__(
        self, answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], port: int = 0
    ) -> None:
        self._answer = answer
        self._runner: web.ServerRunner | None = None
        self.port = port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen; after a stop, on the same port again."""
        server = web.Server(self._answer, handler_cancellation=True)
        self._runner = web.ServerRunner(server, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True, backlog=512)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the listener and every connection."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await asyncio.shield(runner.cleanup())
