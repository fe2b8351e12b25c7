"""What stands in front of every handler, outermost first, each with its reason."""

from collections.abc import Iterable, Iterator, Mapping

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from backends.files.token import token_now
from gateway.fast_path.heads import Heads
from gateway.fast_path.parts import FastRoute, Parts
from gateway.fast_path.path import FAST_METHODS, FastPath
from gateway.generations.live import LiveRef
from gateway.http.dispatch import canonical_of, match_of
from gateway.keys import FAST_PATH, IN_FLIGHT, LIVE_REF, METRICS, STATE
from gateway.problems import render
from gateway.routes.table import Access, AccessOf, Route
from gateway.state import State
from middleware.access_log import AccessLines, AccessLog, Sink, access_log, note_status
from middleware.admin import admin
from middleware.backend_tag import stamp_backend
from middleware.body_limit import BodyLimit, body_limit
from middleware.caching import stamp_caching
from middleware.caller import Auth, caller
from middleware.connection_close import connection_close
from middleware.cors import cors, stamp_cors
from middleware.guard import Guard, Stamp, guarded, stamped
from middleware.isolation import stamp_isolation
from middleware.labels import UNMATCHED
from middleware.load_shed import load_shed
from middleware.metrics import metrics
from middleware.problem_details import Render, problem_details
from middleware.request_id import stamp_request_id
from middleware.request_target import request_target
from middleware.service_auth import service_auth
from middleware.source import Source

_ACCESS_LOG = AccessLog()
_EXEMPT = frozenset({Access.PUBLIC, Access.ADMIN})
_WITH_RUNNER = frozenset({Access.CALLER, Access.BROWSER, Access.SERVICE})


def install(
    app: web.Application,
    routes: Iterable[Route],
    access_of: AccessOf,
    sink: Sink,
    *,
    together: int,
) -> None:
    """Put the middlewares, the response signals and the fast path into `app`.

    Args:
        routes: those that `access_of` knows, mounted already.
        together: how many lines of the access log `sink` gets at once.
    """
    live = app[LIVE_REF]
    guards = _Guards(live)
    lines = AccessLines(lambda: _ACCESS_LOG, sink, together=together)

    async def settle(_: web.Application) -> None:
        lines.settle()

    app.on_cleanup.append(settle)
    app.middlewares.extend(_middlewares(app, guards, access_of, lines))
    # A signal, because it also runs for answers that stream, are raised, or were never seen
    # by a middleware.
    stamps = _stamps(live, app[STATE])
    app.on_response_prepare.append(stamped(*stamps))
    parts = Parts(
        heads=Heads(live, stamps, app[STATE]),
        lines=lines,
        metrics=app[METRICS],
        render=_rendering(live),
        in_flight=app[IN_FLIGHT],
        state=app[STATE],
    )
    app[FAST_PATH] = FastPath(parts, live, _fast_routes(app, routes, guards))


def _fast_routes(
    app: web.Application, routes: Iterable[Route], guards: "_Guards"
) -> Iterator[tuple[str, dict[str, FastRoute]]]:
    mounted = {resource.canonical: resource for resource in app.router.resources()}
    for route in routes:
        if not route.fast:
            continue
        yield (
            route.path,
            {
                method: FastRoute(
                    match_info=match_of(app, one),
                    label=one.resource.canonical if one.resource else UNMATCHED,
                    handler=route.handler,
                    caller=guards.caller_of.get(route.access),
                    token=guards.token,
                    early=route.early,
                    prompt=route.prompt,
                    body_limit=guards.limit_of(route.access),
                )
                for one in mounted[canonical_of(route.path)]
                for method in (FAST_METHODS if one.method == "*" else (one.method,))
            },
        )


def _rendering(live: LiveRef) -> Render:
    return lambda request, failure: render(request, failure, live.now.served_by)


def _stamps(live: LiveRef, state: State) -> tuple[Stamp, ...]:
    return (
        stamp_request_id,
        stamp_backend(lambda: live.now.served_by),
        stamp_caching,
        stamp_cors(lambda: live.now.policies.cors),
        # After cors: an origin that is let in by name stays named.
        stamp_isolation(lambda: live.now.policies.isolation),
        note_status,
        _say_nothing_of_ourselves,
        _last_of_a_stop(state),
    )


def _say_nothing_of_ourselves(_: web.BaseRequest, response: web.StreamResponse) -> None:
    """aiohttp names itself, Python and both versions: a shopping list for an attacker."""
    response.headers.popall(hdrs.SERVER, None)


def _last_of_a_stop(state: State) -> Stamp:
    """Once asked to stop, each answer is its connection's last: the next request goes to
    whoever still serves, instead of into a connection that is about to be closed."""

    def stamp(_: web.BaseRequest, response: web.StreamResponse) -> None:
        if state.stopping:
            response.force_close()
            response.headers[hdrs.CONNECTION] = "close"

    return stamp


def _middlewares(
    app: web.Application,
    guards: "_Guards",
    access_of: AccessOf,
    lines: AccessLines,
) -> list[Middleware]:
    by_access, live = guards.by_access(), app[LIVE_REF]
    return [
        # Waits for a refused upload's client to notice; nothing that measures may see that.
        connection_close(),
        # Sees the final status, also of what the boundary below has turned into an answer.
        access_log(lines),
        metrics(app[METRICS]),
        # The boundary: below it refusals and failures are exceptions, above it answers.
        problem_details(_rendering(live)),
        # Cheap, so it comes before whatever costs; health and admin must get through.
        load_shed(
            lambda: live.now.policies.load_shed,
            in_flight=app[IN_FLIGHT],
            is_exempt=lambda request: access_of(request) in _EXEMPT,
        ),
        guarded(lambda request: by_access[access_of(request)]),
    ]


class _Guards:
    """What is asked of a request."""

    def __init__(self, live: LiveRef) -> None:
        # Before anything interprets the request, make sure it has one reading.
        self._one_reading = request_target()
        # A preflight carries no credentials, so it is answered before they are asked for.
        self._preflight = cors(lambda: live.now.policies.cors)
        # Only once it is known that the call may go on: give it the runner's token.
        self.token = service_auth(lambda: token_now(live.now.settings.service_token))
        self._live = live

        def auth() -> Auth:
            return live.now.policies.auth

        self.caller_of: Mapping[Access, Guard] = {
            Access.CALLER: caller(auth, required=True),
            Access.BROWSER: caller(auth, required=False),
            Access.ADMIN: admin(lambda: live.now.policies.admin),
        }

    def limit_of(self, access: Access) -> Source[BodyLimit]:
        """How much may be sent to such a route: who speaks for a service sends envelopes."""
        live = self._live
        if access is Access.SERVICE:
            return lambda: live.now.policies.envelope_limit
        return lambda: live.now.policies.body_limit

    def by_access(self) -> Mapping[Access, tuple[Guard, ...]]:
        """The guards in their order, by who may use the route."""
        return {access: tuple(self._of(access)) for access in Access}

    def _of(self, access: Access) -> Iterator[Guard]:
        yield self._one_reading
        yield self._preflight
        if access in self.caller_of:
            yield self.caller_of[access]
        if access in _WITH_RUNNER:
            yield self.token
        # Last, so that nobody unknown can make this process read a body.
        yield body_limit(self.limit_of(access))
