"""Guards and stamps: the parts of a pipeline that never wait.

A guard looks at a request before its handler does. It lets it pass, refuses it by raising,
or answers in the handler's place. A stamp sets fields of an answer that is about to leave.
Neither waits for anything, so a row of them costs one coroutine instead of one each.
"""

from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

Guard = Callable[[web.Request], web.StreamResponse | None]
Stamp = Callable[[web.BaseRequest, web.StreamResponse], None]


def guarded(select: Callable[[web.Request], Iterable[Guard]]) -> Middleware:
    """One middleware that asks the guards of a request in turn; the first answer counts.

    Args:
        select: the guards of the route that the request matched, chosen once at start, so
            that no guard has to ask whether a request concerns it.
    """

    @web.middleware
    async def ask(request: web.Request, handler: Handler) -> web.StreamResponse:
        for guard in select(request):
            if (answer := guard(request)) is not None:
                return answer
        return await handler(request)

    return ask


def stamped(*stamps: Stamp) -> Callable[[web.BaseRequest, web.StreamResponse], Awaitable[None]]:
    """One on_response_prepare signal that applies each stamp in turn."""

    async def stamp_all(request: web.BaseRequest, response: web.StreamResponse) -> None:
        for stamp in stamps:
            stamp(request, response)

    return stamp_all
