"""One name for one request, from the client's logs to the runner's."""

import functools
import itertools
import os
import secrets

from aiohttp import web

from backends.contract import REQUEST_ID_FORM

REQUEST_ID = web.RequestKey("request_id", str)

_HEADER = "x-request-id"


def request_id_of(request: web.BaseRequest) -> str:
    """The request's id: the client's own when it is harmless to log, else a fresh UUID.

    The first call decides, and later ones repeat its answer (`named_in_body` may still change it).
    So answers that no middleware saw, such as the HTTP parser's refusals, have an id, too.
    """
    known: str | None = request._state.get(REQUEST_ID)  # as `carried`, without the call
    if known is None:
        known = request._state[REQUEST_ID] = id_after(_said_by_client(request))
    return known


def named_in_body(request: web.BaseRequest, name: str) -> str:
    """The id of a request whose body says `name`: it counts when no header field names one."""
    if _said_by_client(request) is None:
        request[REQUEST_ID] = name
    return request_id_of(request)


def id_after(chosen: str | None) -> str:
    """The client's own id when it is harmless to log, else a fresh one."""
    return chosen if chosen and REQUEST_ID_FORM.fullmatch(chosen) else fresh_id()


def fresh_id() -> str:
    """An id that no other request has."""
    return f"{_of_this_process()}{next(_numbers):012x}"


_numbers = itertools.count(1)


@functools.cache
def _of_this_process() -> str:
    # The random part of a version 8 UUID (RFC 9562 section 5.8). What follows it is a number:
    # ids have to differ, and nobody needs to be unable to guess them.
    digits = secrets.token_hex(9)
    return f"{digits[:8]}-{digits[8:12]}-8{digits[12:15]}-a{digits[15:18]}-"


os.register_at_fork(after_in_child=_of_this_process.cache_clear)


def _said_by_client(request: web.BaseRequest) -> str | None:
    value = request.headers.get(_HEADER)
    if value is None:
        return None
    # With two values nobody can say which one the client will search for.
    return value if len(request.headers.getall(_HEADER)) == 1 else None


def stamp_request_id(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Tell the client under which name to ask about this answer."""
    response.headers[_HEADER] = request_id_of(request)
