"""aiohttp's server, where it answers or waits before the application has a say.

This leans on members that the library calls private; tests/gateway/test_server.py holds each
of them to what is assumed here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any, cast

import structlog
from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import MAX_MSG_QUEUE_SIZE, RequestHandler, _ErrInfo
from aiohttp.web_urldispatcher import SystemRoute

from gateway.fast_path.parts import Cancellable, FastProtocol
from gateway.fast_path.path import FastPath
from gateway.fast_path.reader import UNKNOWN, Parsed, RequestReader
from gateway.http.dispatch import Dispatcher, match_of
from gateway.http.other_protocols import other_protocol
from gateway.keys import FAST_PATH, LIVE, METRICS, SHORT_WAY
from gateway.problems import render
from gateway.settings import Listen
from gateway.sockets.client_transport import ClientTransport
from middleware.access_log import FACTS
from middleware.carried import carried
from middleware.errors import RequestTimeout
from middleware.labels import UNMATCHED
from middleware.request_id import request_id_of

MAX_HEAD_LINE = 8190
MAX_HEADERS = 128

_HEAD_END = b"\r\n\r\n"
_LOOKED_THROUGH = 64 * 1024  # bytes of one read, which may be a large body's
_NO_ROUTE = SystemRoute(web.HTTPNotFound())

_log = structlog.get_logger("access")


class GatewayProtocol(FastProtocol):
    """One client connection.

    The library's parser refuses broken requests itself, in text/plain and without the fields
    that every answer of this program carries; and it lets a client take the whole keep-alive
    time for one request's head. Both are mended here.

    Requests that the fast path takes never come to the library. That is tried only where a
    message begins beyond doubt, and while nothing else of this connection is being answered.
    """

    __slots__ = (
        "_all_over",
        "_app",
        "_body_left",
        "_client",
        "_exchange",
        "_fast_path",
        "_head_began_s",
        "_head_deadline",
        "_head_timeout_s",
        "_held",
        "_reader",
        "_stalled_after_s",
    )

    def __init__(
        self,
        manager: web.Server,
        *,
        loop: asyncio.AbstractEventLoop,
        app: web.Application,
        header_timeout_s: float,
        stalled_after_s: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(manager, loop=loop, **kwargs)
        self._app = app
        self._head_timeout_s = header_timeout_s
        self._stalled_after_s = stalled_after_s
        self._client: ClientTransport | None = None
        self._head_deadline: asyncio.TimerHandle | None = None
        self._head_began_s = 0.0  # on the loop's clock
        self._fast_path: FastPath | None = app.get(FAST_PATH)
        self._reader: RequestReader | None = None  # made for the first request that may need it
        self._exchange: Cancellable | None = None
        self._all_over: asyncio.Future[None] | None = None  # whoever shuts down waits for it
        self._held = b""  # what came and belongs to nobody yet
        self._body_left = 0  # of the body that the library is reading

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        beneath = cast(asyncio.Transport, transport)
        self._client = ClientTransport(beneath, self._stalled_after_s)
        super().connection_made(self._client)

    def eof_received(self) -> None:
        if self._client is not None:
            self._client.flush()
        super().eof_received()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._client is not None:
            self._client.watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._client is not None:
            self._client.progressed()

    def data_received(self, data: bytes) -> None:
        if self._exchange is not None:
            self._keep_for_later(data)
        elif (path := self._fast_path) is None or not self._take(path, data):
            self._pass_on(data)

    def run(self, work: Coroutine[None, None, None]) -> None:
        self._exchange = _Started(self._loop, work)

    def hold(self, exchange: Cancellable) -> None:
        self._exchange = exchange

    def over(self, *, keep_alive: bool) -> None:
        self._exchange = None
        if self._all_over is not None and not self._all_over.done():
            self._all_over.set_result(None)
        if not keep_alive or self._close:
            self.force_close()
        if self._force_close or self.transport is None:
            return
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._held:
            held, self._held = self._held, b""
            self._resume_transport_reading()
            self.data_received(held)

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """Let the exchange that is running finish within `timeout` seconds, and the client take
        what it was sent; then close."""
        began_s = self._loop.time()
        if self._exchange is not None:
            self._close = True
            self._all_over = self._loop.create_future()
            await asyncio.wait([self._all_over], timeout=timeout)
        if self._exchange is not None:
            self._exchange.cancel()
        await super().shutdown(timeout)
        # What waits in this process is lost with it.
        if self._client is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(None if timeout is None else began_s + timeout):
                    await self._client.sent()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._head_is_complete()
        if self._client is not None:
            self._client.unwatch()
            self._client = None
        super().connection_lost(exc)
        if self._exchange is not None:
            self._exchange.cancel()  # and `over` says when it has cleaned up

    def _process_keepalive(self) -> None:
        if self._exchange is not None:
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        super()._process_keepalive()

    def _take(self, path: FastPath, data: bytes) -> bool:
        """Whether these bytes have found their way: answered, begun, held or passed on."""
        if self._body_left:
            if self._body_left != UNKNOWN:
                self._body_left = max(self._body_left - len(data), UNKNOWN)
            return False
        if not self._is_between_requests():
            self._body_left = UNKNOWN
            return False
        if not self._held and path.repeat(self, data):
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
            return True
        held, self._held = self._held, b""
        data = held + data if held else data
        if self._reader is None:
            self._reader = RequestReader()
        found = self._reader.read(data)
        if isinstance(found, Parsed):
            self._head_is_complete()
            if not path.begin(self, found, data):
                self._pass_on(data)
            elif self._exchange is None:
                self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
            return True
        if found.left is None and len(data) < MAX_HEAD_LINE:
            self._held = data
            self._await_head()
            return True
        self._body_left = UNKNOWN if found.left is None else found.left
        self._pass_on(data)
        return True

    def _is_between_requests(self) -> bool:
        """Whether the library waits for a request, and has no byte of it yet."""
        waits = self._waiter is not None and not self._waiter.done()
        return (
            # A new connection's first bytes may come before the library has begun to wait.
            (waits or not self._request_count)
            and not self._messages
            and not (self._force_close or self._close or self._upgraded)
            and (self._head_deadline is None or bool(self._held))
        )

    def _keep_for_later(self, data: bytes) -> None:
        """Keep, within a bound, what a client sends before it has its answer."""
        self._held += data
        if len(self._held) > MAX_HEAD_LINE:
            self._pause_transport_reading()

    def _pass_on(self, data: bytes) -> None:
        if self._head_deadline is None:
            self._head_began_s = self._loop.time()
        # None of it belongs to another message while a body of known length goes on.
        for part in (data,) if self._body_left > 0 else _behind_heads(data):
            super().data_received(part)
            self._end_broken_body()
        # A waiter that is still pending means: bytes came, and no whole head yet.
        if self._waiter is None or self._waiter.done():
            self._head_is_complete()
        else:
            self._await_head()

    def _end_broken_body(self) -> None:
        """Tell whoever reads a body that its framing is broken, where the library's parser only
        refuses what comes: the reader would wait for the rest of it."""
        if not self._messages or not isinstance(self._messages[-1][0], _ErrInfo):
            return
        if len(self._messages) > 1:
            content = self._messages[-2][1]
        elif self._current_request is not None:
            content = self._current_request.content
        else:
            return
        if not content.is_eof():
            content.set_exception(web.RequestPayloadError("broken framing"))

    def _await_head(self) -> None:
        if self._head_deadline is None:
            self._head_began_s = self._loop.time()
            self._head_deadline = self._loop.call_later(self._head_timeout_s, self._head_too_slow)

    def _head_is_complete(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _head_too_slow(self) -> None:
        self._head_deadline = None
        if self._waiter is None or self._waiter.done():
            return
        # Answered the way the library answers its parser's own refusals.
        slow = _ErrInfo(status=408, exc=RequestTimeout("request_head_slow"), message="")
        self._messages.append((slow, EMPTY_PAYLOAD))
        self._waiter.set_result(None)

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """Not that the library stumbled over the rest of a body that nobody wanted to read: it is
        the client's failure, and has been answered."""
        if not isinstance(kwargs.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kwargs)

    def _make_error_handler(
        self, err_info: _ErrInfo
    ) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
        async def refuse(request: web.BaseRequest) -> web.StreamResponse:
            # The library's stand-in for what nobody could read has a version that is not ours.
            request._version = HttpVersion11
            response = self.handle_error(request, err_info.status, err_info.exc, err_info.message)
            self._app[METRICS].count(UNMATCHED, "OTHER", response.status, "none", "client_error")
            self._log_refusal(request, response.status)
            return response

        return refuse

    def _log_refusal(self, request: web.BaseRequest, status: int) -> None:
        known = {
            "request_id": request_id_of(request),
            "route": UNMATCHED,
            "status": status,
            "duration_ms": round((self._loop.time() - self._head_began_s) * 1000, 3),
            **(carried(request, FACTS) or {}),
        }
        present = {name: value for name, value in known.items() if value is not None}
        _log.info("request_refused", **present)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A problem document for what no middleware has seen. Closes the connection."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer had begun; a second one would land inside it")
        known = cast(web.Request, request)  # request_factory makes no others
        if known._match_info is None:  # without one the application's signals do not run
            known._match_info = match_of(self._app, _NO_ROUTE)
        failure = exc or web.HTTPInternalServerError()
        if isinstance(exc, BadHttpMessage):
            failure = other_protocol(exc.message) or exc
            if exc.message.startswith("Too many headers"):
                failure = LineTooLong(b"", MAX_HEADERS)
        response = render(known, failure, self._app[LIVE].served_by)
        response.force_close()
        return response


def _behind_heads(data: bytes) -> Iterator[bytes]:
    r"""The same bytes, cut where heads end, as a network may cut them anywhere.

    The library gives up what it has read in one go when the rest of that is broken: a request
    in front of it would never be answered.

    >>> list(_behind_heads(b"GET / HTTP/1.1\r\n\r\nGET")), list(_behind_heads(b"no end of a head"))
    ([b'GET / HTTP/1.1\r\n\r\n', b'GET'], [b'no end of a head'])
    """
    begin = 0
    for _ in range(MAX_MSG_QUEUE_SIZE):  # it reads no more of them at once
        at = data.find(_HEAD_END, begin, _LOOKED_THROUGH)
        end = at + len(_HEAD_END)
        if at < 0 or end == len(data):
            break
        yield data[begin:end]
        begin = end
    yield data[begin:]


class _Started:
    """A task that is cancelled in the next turn: before its first it could not clean up."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Coroutine[None, None, None]) -> None:
        self._loop = loop
        self._task = loop.create_task(work)

    def cancel(self) -> None:
        self._loop.call_soon(self._task.cancel)


class GatewayServer(web.Server):
    """Makes a GatewayProtocol for every connection."""

    def __call__(self) -> RequestHandler:
        return GatewayProtocol(self, loop=self._loop, **self._kwargs)


class GatewayRunner(web.AppRunner):
    """Runs an application on this module's server, with limits instead of the defaults."""

    def __init__(self, app: web.Application, listen: Listen, *, shutdown_s: float) -> None:
        super().__init__(
            app,
            access_log=None,
            handler_cancellation=True,  # a client that went away needs no answer
            keepalive_timeout=listen.keepalive_s,
            max_line_size=MAX_HEAD_LINE,
            max_field_size=MAX_HEAD_LINE,
            max_headers=MAX_HEADERS,
            shutdown_timeout=shutdown_s,
        )
        self._listen = listen

    def wait_within(self, shutdown_s: float) -> None:
        """Let a stop wait for what runs as long as settings say now, no longer as at the start."""
        self._shutdown_timeout = shutdown_s

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return GatewayServer(
            Dispatcher(self.app, self.app[SHORT_WAY], made.request_handler),  # type: ignore[arg-type]  # its requests are web.Requests: request_factory makes them
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            app=self.app,
            header_timeout_s=self._listen.header_timeout_s,
            stalled_after_s=self._listen.body_idle_s,
            **made._kwargs,
        )
