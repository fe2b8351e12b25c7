"""Which declared endpoint a request means. Pure."""

from collections.abc import Iterable
from functools import lru_cache

from backends.bundles.manifest import Endpoint


def match(endpoints: Iterable[Endpoint], method: str, path: str) -> Endpoint | None:
    """Find the first declared endpoint that answers this method and path.

    Paths are compared by segments: surrounding white space and outer slashes do not count,
    ":name" stands for any one non-empty segment, everything else is compared as it is, case
    included. HEAD is answered by GET (RFC 9110 section 9.3.2).

    Args:
        method: in any case.
        path: decoded.

    >>> item = Endpoint(method="GET", path="/items/:id", handler="dist/main")
    >>> match([item], "head", "/items/7/").path
    '/items/:id'
    >>> match([item], "GET", "/items") is None
    True
    """
    wanted = _answered_by(method.upper())
    segments = _segments(path)
    for endpoint in endpoints:
        if endpoint.method in wanted and _covers(_declared(endpoint.path), segments):
            return endpoint
    return None


def methods_for(endpoints: Iterable[Endpoint], path: str) -> frozenset[str]:
    """Name the methods that some endpoint answers at this path, for the Allow field of a 405.

    Empty when no endpoint has the path: that is a 404.
    """
    segments = _segments(path)
    methods = {
        endpoint.method for endpoint in endpoints if _covers(_declared(endpoint.path), segments)
    }
    return frozenset(methods | {"HEAD"} if "GET" in methods else methods)


def _answered_by(method: str) -> frozenset[str]:
    return frozenset({"HEAD", "GET"} if method == "HEAD" else {method})


def _segments(path: str) -> tuple[str, ...]:
    bare = path.strip().strip("/")
    return tuple(bare.split("/")) if bare else ()


@lru_cache(maxsize=1024)  # of what clients ask for nothing is kept
def _declared(path: str) -> tuple[str, ...]:
    return _segments(path)


def _covers(template: tuple[str, ...], segments: tuple[str, ...]) -> bool:
    if len(template) != len(segments):
        return False
    # Most have no placeholder: one comparison tells. A literal ":name" would be a segment, too.
    return template == segments or all(
        bool(segment) if part.startswith(":") else part == segment
        for part, segment in zip(template, segments, strict=True)
    )
