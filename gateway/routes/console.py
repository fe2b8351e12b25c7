"""The console: a page without data for anybody, and the data for admins.

`GET /gateway/` is the page. Its script asks for the data, with the admin token when there is
one, which no plain navigation could send.
"""

from contextlib import aclosing
from typing import Final

from aiohttp import hdrs, web

from gateway.console.setup import CONSOLE
from gateway.http.event_streams import write_event
from gateway.keys import LIVE
from gateway.outcomes import NothingAtRoot
from gateway.routes.json_response import json_response
from middleware.admin import require_admin
from middleware.errors import InvalidRequest, Refusal

_WRITE_S: Final = 10.0
_MAX_REQUEST_ID: Final = 128

_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_PAGE_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


async def root(request: web.Request) -> web.Response:
    """The origin itself. Raises NothingAtRoot, which names the page."""
    raise NothingAtRoot


async def page(request: web.Request) -> web.Response:
    """The page's frame. It holds no data, so that a login form can be a part of it."""
    html = await request.app[CONSOLE].page.html()
    return web.Response(text=html, content_type="text/html", headers=_PAGE_HEADERS)


async def snapshot(request: web.Request) -> web.Response:
    """Everything the console shows, once."""
    return json_response(await request.app[CONSOLE].feed.document())


async def lines(request: web.Request) -> web.Response:
    """The remembered log lines of `?request_id=`, or of all ids that begin like it."""
    wanted = request.query.get("request_id", "")
    if not 0 < len(wanted) <= _MAX_REQUEST_ID:
        raise InvalidRequest("invalid_request_id", field="request_id")
    return json_response({"lines": await request.app[CONSOLE].document.lines_of(wanted)})


async def live(request: web.Request) -> web.StreamResponse:
    """Everything the console shows, and then what changes, as server-sent events.

    Ends when the gateway stops, and when a reload has changed who may administer.

    Raises:
        Overloaded: enough others are looking already.
    """
    feed = request.app[CONSOLE].feed
    response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/event-stream"})
    if request.method == hdrs.METH_HEAD:
        await response.prepare(request)
        return response
    with feed.place():
        await response.prepare(request)
        async with aclosing(feed.events()) as events:
            async for event in events:
                if not _may_still_look(request):
                    break
                await write_event(response, event, within_s=_WRITE_S)
    return response


def _may_still_look(request: web.Request) -> bool:
    try:
        require_admin(request.app[LIVE].policies.admin, request)
    except Refusal:
        return False
    return True
