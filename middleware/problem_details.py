"""The boundary where exceptions become answers, as long as that is still possible.

Once the first byte of an answer has left, a second answer would land inside the first one's
body. Then the connection is reset, because only that tells every client, whatever the framing,
that what it has is not the whole.
"""

from collections.abc import Callable
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from middleware.connection_close import reset_connection

CLIENT_GONE: Final = 499
"""Never sent: what logs and metrics say when the client left before an answer began."""


Render = Callable[[web.Request, Exception], web.Response]


def problem_details(render: Render) -> Middleware:
    """Turn whatever a handler raises into an answer.

    Args:
        render: makes the answer (RFC 9457); it never sees a redirect. The Allow field of a
            405 is carried over for it (RFC 9110 section 15.5.6).

    Raises what the handler raised when the answer had already begun. Cancellation passes
    untouched. For a client that has left nothing is rendered.
    """

    @web.middleware
    async def boundary(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Exception as failure:  # noqa: BLE001
            return answer_to(request, failure, render)

    return boundary


def answer_to(request: web.Request, failure: Exception, render: Render) -> web.Response:
    """The answer to a request that has failed, if one can still be given.

    Raises:
        Exception: `failure` itself, when an answer had begun (the connection is reset) or
            when it is an answer already.
    """
    if request.writer.output_size > 0:
        reset_connection(request)
        raise failure
    if isinstance(failure, ConnectionError) and request.transport is None:
        # A client that leaves is no failure of ours, and nobody will read this.
        return web.Response(status=CLIENT_GONE)
    if isinstance(failure, web.HTTPException) and failure.status < 400:
        raise failure
    response = render(request, failure)
    if isinstance(failure, web.HTTPMethodNotAllowed):
        response.headers[hdrs.ALLOW] = failure.headers[hdrs.ALLOW]
    return response
