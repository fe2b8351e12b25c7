"""The addresses of the host application's routes, as a guest names them."""

import re
from urllib.parse import quote, unquote

from yarl import URL

from backends.embedded.host.internal_client import InternalClient

_SEGMENT_SAFE = "!$&'()*+,;=:@"  # RFC 3986 section 3.3, pchar
_QUERY_SAFE = _SEGMENT_SAFE + "/?%[]"
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Whatever some server takes for the beginning or the end of a segment counts.
_DOT_SEGMENT = re.compile(r"(?:\A|[/\\])\.{1,2}(?:[/\\;?#]|\Z)")
_MOST_LAYERS = 3  # of percent-encoding; what has more was written to deceive


class AppRoutes:
    """Where the host application's routes are, and how long one may take in seconds."""

    def __init__(self, base_url: str, timeout_s: float, client: InternalClient) -> None:
        self._base = base_url.rstrip("/")
        self.timeout_s = timeout_s
        self.client = client

    def url(self, extension_id: str, route: str) -> URL | None:
        """The address of `route`, or None when it is empty or has a dot segment.

        Routes under /api/ are the application's own; any other belongs to the extension. What
        is percent-encoded stays as written, and repeated slashes count as one.
        """
        path, _, query = route.strip().partition("?")
        if not path or _climbs(path) or _climbs(extension_id):
            return None
        segments = [segment for segment in path.split("/") if segment]
        if not path.removeprefix("/").startswith("api/"):
            segments.insert(0, extension_id)
        if path.endswith("/"):
            segments.append("")
        suffix = f"?{quote(query, safe=_QUERY_SAFE)}" if query else ""
        return URL(f"{self._base}/{'/'.join(map(_spelt, segments))}{suffix}", encoded=True)


def _climbs(path: str) -> bool:
    """Whether anybody might read a dot segment in `path`, however often they decode it."""
    for _ in range(_MOST_LAYERS + 1):
        if _DOT_SEGMENT.search(path):
            return True
        decoded = unquote(path)
        if decoded == path:
            return False
        path = decoded
    return True


def _spelt(segment: str) -> str:
    return quote(_BROKEN_ESCAPE.sub("%25", segment), safe=_SEGMENT_SAFE + "%")
