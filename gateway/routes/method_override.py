"""`__method`: how a page that can only POST asks for another method."""

from dataclasses import dataclass

import orjson

from backends.contract import Pairs

PARAMETER = "__method"
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestRequest:
    """What the guest is asked, as far as an override can change it."""

    method: str
    query: Pairs
    body: bytes | None


def overridden(request: GuestRequest) -> GuestRequest:
    """Apply an override to a POST; every other request is returned as it is.

    `__method` in the query wins over a top-level `__method` in a JSON object; a word that is
    no method is ignored. The effective one is removed from where it stood: a body that held
    a valid override is written anew without it, and is absent if nothing else remains. An
    effective GET has no body.

    >>> overridden(GuestRequest(method="POST", query=(("__method", "get"),), body=b"x"))
    GuestRequest(method='GET', query=(), body=None)
    """
    if request.method != "POST":
        return request
    in_body, body = _taken_from(request.body)
    in_query = from_query(request.query)
    method = in_query or in_body
    if method is None:
        return request
    query = request.query
    if in_query:
        query = tuple(pair for pair in query if pair[0] != PARAMETER)
    return GuestRequest(method=method, query=query, body=None if method == "GET" else body)


def from_query(query: Pairs) -> str | None:
    """The method that the query asks for; of several, the last one counts."""
    return _method(dict(query).get(PARAMETER))


def _taken_from(body: bytes | None) -> tuple[str | None, bytes | None]:
    """The override in a JSON body, and the body without it."""
    if not body or PARAMETER.encode() not in body:
        return None, body
    try:
        members = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None, body
    if not isinstance(members, dict) or (method := _method(members.get(PARAMETER))) is None:
        return None, body
    del members[PARAMETER]
    return method, orjson.dumps(members) if members else None


def _method(word: object) -> str | None:
    upper = word.upper() if isinstance(word, str) else ""
    return upper if upper in METHODS else None
