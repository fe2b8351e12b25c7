"""ui-proxy.call-route: a guest asks the host application's own routes."""

import re
from urllib.parse import quote, unquote

from yarl import URL

from backends.embedded.host.call import Call, Err, Ok
from backends.embedded.host.internal_client import ExchangeFailed, InternalClient
from backends.embedded.host.on_loop import Unanswered, run_on_loop

CAPABILITY = "cap:ui.proxy"
MAX_RESPONSE_BYTES = 4 * 1024 * 1024

_SEGMENT_SAFE = "!$&'()*+,;=:@"  # RFC 3986 section 3.3, pchar
_QUERY_SAFE = _SEGMENT_SAFE + "/?%[]"
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Whatever some server takes for the beginning or the end of a segment counts.
_DOT_SEGMENT = re.compile(r"(?:\A|[/\\])\.{1,2}(?:[/\\;?#]|\Z)")
_MOST_LAYERS = 3  # of percent-encoding; what has more was written to deceive


class UiProxy:
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


def call_route(call: Call, route: str, payload: bytes | None) -> Ok | Err:
    """GET `route`, or POST `payload` (JSON) to it, and return the body of a 2xx answer.

    Errors: denied (also the route's 401, 403, 429), route-not-found (its 404, or no host
    application is configured), bad-request (its other 4xx, or a malformed route), internal.
    """
    services = call.services
    if not call.may(CAPABILITY):
        return Err("denied")
    if services.ui_proxy is None:
        return Err("route-not-found")
    proxy = services.ui_proxy
    url = proxy.url(call.request.context.extension_id, route)
    if url is None:
        return Err("bad-request")
    headers = _headers(call)
    if payload is not None:
        headers["content-type"] = "application/json"
    try:
        answer = run_on_loop(
            services.loop,
            lambda: proxy.client.exchange(
                "GET" if payload is None else "POST",
                url,
                headers=headers,
                body=payload,
                max_bytes=MAX_RESPONSE_BYTES,
            ),
            call.remaining_s(proxy.timeout_s),
        )
    except (ExchangeFailed, Unanswered):
        return Err("internal")
    return Ok(answer.body) if 200 <= answer.status < 300 else Err(_error_for(answer.status))


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


def _headers(call: Call) -> dict[str, str]:
    context, user = call.request.context, call.request.user
    headers = {
        "x-request-id": call.request.request_id or "ui-proxy-call",
        "x-alga-tenant": context.tenant_id,
        "x-alga-extension": context.extension_id,
    }
    if context.install_id:
        headers["x-ext-install-id"] = context.install_id
    if context.version_id:
        headers["x-ext-version-id"] = context.version_id
    if call.secrets and "api_key" in call.secrets:
        headers["x-api-key"] = call.secrets["api_key"]
    if user is not None:
        headers["x-user-id"] = user.user_id
        headers["x-user-email"] = user.user_email
    return headers


def _error_for(status: int) -> str:
    if status in {401, 403, 429}:
        return "denied"
    if status == 404:
        return "route-not-found"
    return "bad-request" if 400 <= status < 500 else "internal"
