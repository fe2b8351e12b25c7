"""One name for one request, from the client's logs to the runner's."""

import random
import re

from aiohttp import web

from middleware.carried import carried

REQUEST_ID = web.RequestKey("request_id", str)

_HEADER = "x-request-id"
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)


def request_id_of(request: web.BaseRequest) -> str:
    """The request's id: the client's own when it is harmless to log, else a fresh UUID.

    The first call decides and every later one repeats it, so answers that no middleware saw
    (the HTTP parser's refusals) can be named too.
    """
    known = carried(request, REQUEST_ID)
    if known is None:
        known = request[REQUEST_ID] = _chosen_by_client(request) or _fresh()
    return known


def _fresh() -> str:
    # A version 4 UUID that nobody needs to be unable to guess: the system's own source of
    # randomness costs ten times as much.
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _chosen_by_client(request: web.BaseRequest) -> str | None:
    value = request.headers.get(_HEADER)
    if value is None or _ACCEPTABLE.fullmatch(value) is None:
        return None
    # With two values nobody can say which one the client will search for.
    return value if len(request.headers.getall(_HEADER)) == 1 else None


def stamp_request_id(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Tell the client under which name to ask about this answer."""
    response.headers[_HEADER] = request_id_of(request)
