"""aiohttp's server, where it answers or waits before the application has a say.

This leans on members that the library calls private; tests/gateway/test_server.py holds each
of them to what is assumed here.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from gateway.dispatch import Dispatcher
from gateway.keys import LIVE, METRICS, SHORT_WAY
from gateway.problems import problem_for, render
from gateway.settings import Listen
from middleware.backend_tag import SERVED_BY
from middleware.errors import RequestTimeout
from middleware.labels import UNMATCHED
from middleware.request_id import request_id_of

MAX_HEAD_LINE = 8190
MAX_HEADERS = 128

_log = structlog.get_logger("access")


class GatewayProtocol(RequestHandler):
    """One client connection.

    The library's parser refuses broken requests itself, in text/plain and without the fields
    that every answer of this program carries; and it lets a client take the whole keep-alive
    time for one request's head. Both are mended here.
    """

    __slots__ = ("_app", "_head_deadline", "_head_timeout_s")

    def __init__(
        self,
        manager: web.Server,
        *,
        loop: asyncio.AbstractEventLoop,
        app: web.Application,
        header_timeout_s: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(manager, loop=loop, **kwargs)
        self._app = app
        self._head_timeout_s = header_timeout_s
        self._head_deadline: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # A waiter that is still pending means: bytes came, and no whole head yet.
        if self._waiter is None or self._waiter.done():
            self._head_is_complete()
        elif self._head_deadline is None:
            self._head_deadline = self._loop.call_later(self._head_timeout_s, self._head_too_slow)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._head_is_complete()
        super().connection_lost(exc)

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

    def _make_error_handler(
        self, err_info: _ErrInfo
    ) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
        async def refuse(request: web.BaseRequest) -> web.StreamResponse:
            failure = err_info.exc
            # Without a matched route the application's signals do not run by themselves.
            response = self.handle_error(request, err_info.status, failure, err_info.message)
            for stamp in self._app.on_response_prepare:
                await stamp(request, response)  # type: ignore[arg-type]  # a BaseRequest will do
            self._app[METRICS].count(UNMATCHED, "OTHER", response.status, "none", "client_error")
            _log.info(
                "request_refused",
                request_id=request_id_of(request),
                status=response.status,
                error=problem_for(failure).code,
            )
            return response

        return refuse

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
        failure = exc or web.HTTPInternalServerError()
        if isinstance(exc, BadHttpMessage) and exc.message.startswith("Too many headers"):
            failure = LineTooLong(b"", MAX_HEADERS)
        request[SERVED_BY] = self._app[LIVE].served_by
        response = render(request, failure)
        response.force_close()
        return response


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

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return GatewayServer(
            Dispatcher(self.app, self.app[SHORT_WAY], made.request_handler),  # type: ignore[arg-type]  # its requests are web.Requests: request_factory makes them
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            app=self.app,
            header_timeout_s=self._listen.header_timeout_s,
            **made._kwargs,
        )
