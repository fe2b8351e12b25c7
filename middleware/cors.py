"""Which other origins' pages may read an answer: an allow-list, kept in this one place.

Tenants are told apart by what the application sends, so echoing any origin would let any
page a user visits read that user's extensions.
"""

from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web

from middleware.guard import Guard, Stamp
from middleware.source import Source

_ALLOW_METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_ALLOW_HEADERS: Final = "authorization, content-type, x-request-id, x-idempotency-key"
_EXPOSE_HEADERS: Final = "x-request-id, x-runner-backend, x-runner-generation, retry-after"
_PREFLIGHT_VARY: Final = (
    hdrs.ORIGIN,
    hdrs.ACCESS_CONTROL_REQUEST_METHOD,
    hdrs.ACCESS_CONTROL_REQUEST_HEADERS,
)
_MAX_AGE_S: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """Origins as browsers serialise them: scheme://host[:port], lower case, no slash."""

    allowed_origins: frozenset[str] = frozenset()


def cors(source: Source[Cors]) -> Guard:
    """Answer preflights; every other request passes, a plain OPTIONS included.

    A preflight carries no credentials, so it is answered before the caller is asked for.
    Source: the Fetch standard, section "CORS-preflight request".
    """

    def preflight(request: web.Request) -> web.StreamResponse | None:
        if not _is_preflight(request):
            return None
        response = web.Response(status=204)
        if _allowed_origin(source(), request) is not None:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = _ALLOW_METHODS
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = _ALLOW_HEADERS
            response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = str(_MAX_AGE_S)
        return response

    return preflight


def stamp_cors(source: Source[Cors]) -> Stamp:
    """The stamp that lets a listed origin read the answer.

    Vary is set for every origin as soon as a list exists: else a cache hands the answer
    for one origin to another (RFC 9110 section 12.5.5).
    """

    def stamp(request: web.BaseRequest, response: web.StreamResponse) -> None:
        config = source()
        if not config.allowed_origins:
            return
        _add_vary(response, _PREFLIGHT_VARY if _is_preflight(request) else (hdrs.ORIGIN,))
        origin = _allowed_origin(config, request)
        if origin is not None:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSE_HEADERS

    return stamp


def _is_preflight(request: web.BaseRequest) -> bool:
    return (
        request.method == hdrs.METH_OPTIONS
        and hdrs.ORIGIN in request.headers
        and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    )


def _allowed_origin(config: Cors, request: web.BaseRequest) -> str | None:
    origin = request.headers.get(hdrs.ORIGIN)
    return origin if origin in config.allowed_origins else None


def _add_vary(response: web.StreamResponse, names: tuple[str, ...]) -> None:
    said = [part.strip() for part in ",".join(response.headers.getall(hdrs.VARY, ())).split(",")]
    known = {part.lower() for part in said}
    missing = [name for name in names if name.lower() not in known]
    if missing and "*" not in known:
        response.headers[hdrs.VARY] = ", ".join([part for part in said if part] + missing)
