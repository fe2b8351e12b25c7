"""Who may look at and replace the backend: whoever holds the admin token.

Without a token only this machine may, which takes more than a loopback peer: see web_pages.py.
"""

import hmac
import re
from dataclasses import dataclass, field
from typing import Final

from aiohttp import hdrs, web

from middleware.errors import Forbidden, InvalidRequest, Unauthenticated
from middleware.guard import Guard
from middleware.source import Source
from middleware.web_pages import host_name, is_cross_site, is_loopback

TOKEN_HEADER: Final = "x-gateway-admin-token"  # noqa: S105 - the name of a field, not a token

_CHALLENGE: Final = 'Bearer realm="gateway admin"'
_OF_PROXIES: Final = re.compile(
    r"forwarded|via|cdn-loop"  # RFC 7239, RFC 9110 section 7.6.3, RFC 8586
    r"|x-(forwarded|real|original|envoy|azure|appengine|arr|proxyuser)-.*|cf-.*|.*client-?ip",
    re.ASCII,
)
"""Names of fields that proxies, tunnels and content networks add; some add only one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminAuth:
    """What opens the admin routes.

    Args:
        token: None: no token is configured, loopback alone opens.
        loopback_listener: whether this process listens on loopback only.
    """

    token: str | None = field(repr=False)
    loopback_listener: bool


def admin(source: Source[AdminAuth]) -> Guard:
    """Let admins alone through. Raises what `require_admin` raises."""

    def guard(request: web.Request) -> None:
        require_admin(source(), request)

    return guard


def require_admin(auth: AdminAuth, request: web.BaseRequest) -> None:
    """Return when this request may administer.

    Raises:
        Unauthenticated: a token is configured and the request has none or another.
        Forbidden: no token is configured, and this is not a call of this machine's user.
        InvalidRequest: more than one token was sent.
    """
    if auth.token is None:
        _require_local(auth, request)
        return
    given = _given_token(request)
    if given is None:
        raise Unauthenticated("missing_admin_token", challenge=_CHALLENGE)
    if not hmac.compare_digest(given.encode(errors="surrogateescape"), auth.token.encode()):
        raise Unauthenticated("wrong_admin_token", challenge=_CHALLENGE)


def _given_token(request: web.BaseRequest) -> str | None:
    tokens = list(request.headers.getall(TOKEN_HEADER, ()))
    for value in request.headers.getall(hdrs.AUTHORIZATION, ()):
        scheme, _, credentials = value.partition(" ")
        if scheme.lower() == "bearer":
            tokens.append(credentials.strip())
    if len(tokens) > 1:
        raise InvalidRequest("repeated_header", field=TOKEN_HEADER)
    return tokens[0] if tokens else None


def _require_local(auth: AdminAuth, request: web.BaseRequest) -> None:
    if not (auth.loopback_listener and is_loopback(request.remote or "")):
        raise Forbidden("admin_token_not_configured")
    if not is_loopback(host_name(request.host)):
        raise Forbidden("admin_host_not_loopback")
    # A proxy or tunnel on this machine lends its loopback address to the whole world.
    if any(_OF_PROXIES.fullmatch(name.lower().replace("_", "-")) for name in request.headers):
        raise Forbidden("admin_through_proxy")
    if is_cross_site(request.headers):
        raise Forbidden("admin_cross_site")
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and origin.partition("://")[2] != request.host:
        raise Forbidden("admin_cross_site")
