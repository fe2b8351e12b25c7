"""Names for a request that are safe to log and to count.

Both come from this program, never from the client: a path may hold a secret, and a label
with as many values as there are clients fills the memory of whatever counts it.
"""

from aiohttp import web

UNMATCHED = "unmatched"

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def route_of(request: web.Request) -> str:
    """The template of the matched route, such as "/api/ext/{extension}"; else "unmatched"."""
    resource = request.match_info.route.resource
    return UNMATCHED if resource is None else resource.canonical


def method_of(request: web.Request) -> str:
    """The method when this program knows it; else "OTHER"."""
    return request.method if request.method in METHODS else "OTHER"
