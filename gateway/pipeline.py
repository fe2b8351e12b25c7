"""What stands in front of every handler, outermost first, each with its reason."""

from collections.abc import Callable

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from gateway.keys import IN_FLIGHT, LIVE, METRICS, STATE
from gateway.problems import render
from gateway.routes.table import Access, AccessOf
from gateway.state import State
from middleware.access_log import AccessLog, Sink, access_log, note_status
from middleware.admin import admin
from middleware.backend_tag import stamp_backend
from middleware.body_limit import body_limit
from middleware.caching import stamp_caching
from middleware.caller import DevAuth, ProxyAuth, caller
from middleware.connection_close import connection_close
from middleware.cors import cors, stamp_cors
from middleware.guard import Guard, Stamp, guarded, stamped
from middleware.isolation import stamp_isolation
from middleware.load_shed import load_shed
from middleware.metrics import metrics
from middleware.problem_details import problem_details
from middleware.request_id import stamp_request_id
from middleware.request_target import request_target
from middleware.service_auth import service_auth

_ACCESS_LOG = AccessLog()
_EXEMPT = frozenset({Access.PUBLIC, Access.ADMIN})


def install(app: web.Application, access_of: AccessOf, sink: Sink) -> None:
    """Put the middlewares and the response signals into `app`."""
    app.middlewares.extend(_middlewares(app, access_of, sink))
    # A signal, because it also runs for answers that stream, are raised, or were never seen
    # by a middleware.
    app.on_response_prepare.append(
        stamped(
            stamp_request_id,
            stamp_backend(lambda: app[LIVE].served_by),
            stamp_caching,
            stamp_cors(lambda: app[LIVE].policies.cors),
            # After cors: an origin that is let in by name stays named.
            stamp_isolation(lambda: app[LIVE].policies.isolation),
            note_status,
            _say_nothing_of_ourselves,
            _last_of_a_stop(app[STATE]),
        )
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


def _middlewares(app: web.Application, access_of: AccessOf, sink: Sink) -> list[Middleware]:
    return [
        # Waits for a refused upload's client to notice; nothing that measures may see that.
        connection_close(),
        # Sees the final status, also of what the boundary below has turned into an answer.
        access_log(lambda: _ACCESS_LOG, sink=sink),
        metrics(app[METRICS]),
        # The boundary: below it refusals and failures are exceptions, above it answers.
        problem_details(render),
        # Cheap, so it comes before whatever costs; health and admin must get through.
        load_shed(
            lambda: app[LIVE].policies.load_shed,
            in_flight=app[IN_FLIGHT],
            is_exempt=lambda request: access_of(request) in _EXEMPT,
        ),
        guarded(_guards(app, access_of)),
    ]


def _guards(
    app: web.Application, access_of: AccessOf
) -> Callable[[web.Request], tuple[Guard, ...]]:
    """What is asked of a request, by who may use its route; in this order."""
    # Before anything interprets the request, make sure it has one reading.
    one_reading = request_target()
    # A preflight carries no credentials, so it is answered before they are asked for.
    preflight = cors(lambda: app[LIVE].policies.cors)
    # Only once it is known that the call may go on: give it the runner's token.
    token = service_auth(lambda: app[LIVE].policies.service_auth)
    # Last, so that nobody unknown can make this process read a body.
    limit = body_limit(lambda: app[LIVE].policies.body_limit)

    def auth() -> DevAuth | ProxyAuth:
        return app[LIVE].policies.auth

    by_access: dict[Access, tuple[Guard, ...]] = {
        Access.PUBLIC: (one_reading, preflight, limit),
        Access.CALLER: (one_reading, preflight, caller(auth, required=True), token, limit),
        Access.BROWSER: (one_reading, preflight, caller(auth, required=False), token, limit),
        Access.SERVICE: (one_reading, preflight, token, limit),
        Access.ADMIN: (one_reading, preflight, admin(lambda: app[LIVE].policies.admin), limit),
    }
    return lambda request: by_access[access_of(request)]
