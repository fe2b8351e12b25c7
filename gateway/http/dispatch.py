"""The short way from a request to its handler.

aiohttp's router walks its resources, builds a match, and wires the middlewares anew for every
request. The routes of this program read the raw target themselves, so one regular expression
and a match made once say the same. What the expression does not recognise (an escape before
the last part that is no colon's, another method, a static file, nothing at all) goes the
router's long way; a test holds the two ways to the same answers.
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from aiohttp import hdrs, web
from aiohttp.web_urldispatcher import UrlMappingMatchInfo

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Prepared = tuple[UrlMappingMatchInfo, Handler]

_PLACEHOLDER = re.compile(r"\{\w+(?P<rest>:\.\*)?\}")
# No escape but a colon's: it is in the content hash of every address that build_ui_url makes.
_SEGMENT = r"(?:[\w.~:@!$&'()*+,;=-]|%3[Aa])+"


def pattern_of(template: str) -> str:
    r"""A regular expression for raw targets that can match nothing but `template`.

    >>> pattern_of("/api/ext/{extension}/{path:.*}")[:15]
    '/api/ext/(?:[\\w'
    >>> bool(re.match(pattern_of("/healthz"), "/healthz?x=1"))
    True
    """
    pattern, end = "", 0
    for placeholder in _PLACEHOLDER.finditer(template):
        pattern += re.escape(template[end : placeholder.start()])
        if placeholder["rest"]:
            return pattern
        pattern += _SEGMENT
        end = placeholder.end()
    return pattern + re.escape(template[end:]) + r"(?=\?|\Z)"


class Dispatcher:
    """A request handler for aiohttp's server, in front of the application's own.

    Args:
        app: frozen; its middlewares are composed around each handler once.
        templates: the routes that may be reached the short way, the busiest first.
        long_way: the application's own request handler.
    """

    def __init__(self, app: web.Application, templates: Iterable[str], long_way: Handler) -> None:
        self._app = app
        self._long_way = long_way
        wanted = list(templates)
        self._short_way = re.compile("|".join(f"({pattern_of(one)})" for one in wanted), re.ASCII)
        self._prepared: list[dict[str, Prepared]] = [{} for _ in wanted]
        places = {canonical_of(template): place for place, template in enumerate(wanted)}
        for resource in app.router.resources():
            if (place := places.get(resource.canonical)) is not None:
                for route in resource:
                    self._prepared[place][route.method] = _prepare(app, route)

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        prepared = self.find(request.method, request.raw_path)
        if prepared is None:
            if hdrs.EXPECT in request.headers:
                return await self._without_expectation(request)
            return await self._long_way(request)
        request._match_info, handler = prepared
        return await handler(request)

    async def _without_expectation(self, request: web.Request) -> web.StreamResponse:
        """The long way past the library's own answer to Expect: it asks for the body, or refuses
        with the client's text in its answer, before any middleware has a say."""
        match = await self._app.router.resolve(request)
        match.add_app(self._app)
        match.freeze()
        request._match_info = match
        return await _behind_middlewares(self._app, match.handler)(request)

    def find(self, method: str, target: str) -> Prepared | None:
        """The match and the handler of this raw target, when it is on the short way."""
        found = self._short_way.match(target)
        if found is None or found.lastindex is None:
            return None
        methods = self._prepared[found.lastindex - 1]
        return methods.get(method) or methods.get("*")


def canonical_of(template: str) -> str:
    """How aiohttp spells this template when it is asked for one."""
    return template.replace(":.*}", "}")


def match_of(app: web.Application, route: web.AbstractRoute) -> UrlMappingMatchInfo:
    """The outcome of routing, for all requests of a route: handlers read the target itself."""
    match = UrlMappingMatchInfo({}, route)
    match.add_app(app)
    match.freeze()
    return match


def _prepare(app: web.Application, route: web.AbstractRoute) -> Prepared:
    return match_of(app, route), _behind_middlewares(app, route.handler)


def _behind_middlewares(app: web.Application, handler: Handler) -> Handler:
    for middleware in reversed(app.middlewares):
        handler = partial(middleware, handler=handler)
    return handler
