"""Who calls: a tenant, perhaps a person, and how we know.

The tenant decides whose extensions run and whose secrets they get. It comes from whoever
proved to be the application, never from what a browser says.
"""

import hmac
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal, assert_never

from aiohttp import hdrs, web
from multidict import MultiMapping

from backends.contract import User, is_identifier
from middleware.access_log import note
from middleware.carried import FIELDS_MADE, carried
from middleware.errors import Forbidden, InvalidRequest, TenantMismatch, Unauthenticated
from middleware.guard import Guard
from middleware.jwt_claims import tenant_of, user_of
from middleware.jwt_tokens import MISSING, JwtAuth
from middleware.source import Source
from middleware.user_header import parse_user
from middleware.web_pages import host_name, is_cross_site, is_loopback

KEY_HEADER: Final = "x-gateway-key"
USER_HEADER: Final = "x-gateway-user"
TENANT_HEADER: Final = "x-alga-tenant"
OTHER_TENANT_HEADER: Final = "x-tenant-id"

_CHALLENGE: Final = 'Gateway-Key realm="gateway"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whose request this is. `user` is None when the application names no person."""

    tenant_id: str
    user: User | None = field(default=None, repr=False)
    via: Literal["dev", "proxy", "jwt"]


@dataclass(frozen=True, slots=True)
class DevAuth:
    """Everybody is this one tenant: for a developer's own machine.

    Args:
        hosts: the names that it may be asked by besides those of loopback.
        origins: whose pages may change something besides those of its own site.
    """

    tenant: str
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ProxyAuth:
    """Whoever knows the key is the application and says which tenant calls."""

    key: str = field(repr=False)


Auth = DevAuth | ProxyAuth | JwtAuth

_SAFE: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
_CREDENTIAL: Final = {ProxyAuth: KEY_HEADER, JwtAuth: hdrs.AUTHORIZATION}

CALLER = web.RequestKey("caller", Caller)


def caller(source: Source[Auth], *, required: bool) -> Guard:
    """Set CALLER, or refuse.

    Args:
        required: whether the route answers nobody but known callers. On others a request
            without a key or token passes without CALLER; one with a wrong one is refused
            there too, for it says that somebody is misconfigured or guessing.

    The guard raises what `require_developer` and `identify` raise.
    """

    def recognise(request: web.Request) -> None:
        auth = source()
        if isinstance(auth, DevAuth):
            require_developer(auth, request)
        made = carried(request, FIELDS_MADE)
        judged = None if made is None else made.get(recognise)
        if judged is not None and judged[0] is auth:
            known = judged[1]
        else:
            credential = _CREDENTIAL.get(type(auth))
            anonymous = credential is not None and credential not in request.headers
            known = identify(auth, request.headers) if required or not anonymous else None
            if made is not None and not isinstance(auth, JwtAuth):  # whose tokens expire
                made[recognise] = (auth, known)
        if known is not None:
            request[CALLER] = known
            note(request, tenant=known.tenant_id)

    return recognise


def require_developer(auth: DevAuth, request: web.BaseRequest) -> None:
    """Return unless a web page asks that the developer happens to look at.

    An app in front names itself in X-Forwarded-Host, which proves nothing and is not asked for.

    Raises:
        Forbidden: asked by a name that is not this machine's, as after DNS rebinding; or a page
            of another site would change something.
    """
    headers = request.headers
    authority = headers.get(hdrs.HOST)
    if authority is not None:
        host = host_name(authority)
        if not (is_loopback(host) or host in auth.hosts):
            raise Forbidden("dev_host_not_loopback")
    if request.method in _SAFE or not is_cross_site(headers):
        return
    if headers.get(hdrs.ORIGIN) not in auth.origins:
        raise Forbidden("dev_cross_site")


def identify(auth: Auth, headers: MultiMapping[str]) -> Caller:
    """Who these headers belong to.

    Raises:
        Unauthenticated: no key or token, a wrong one, or one without a tenant.
        IdentityUnavailable: nobody can say yet whether the token is genuine.
        TenantMismatch: another tenant is named as well.
        InvalidRequest: a field came twice, the tenant is no tenant id, or the user block
            is not what the runner protocol calls a user.

    >>> from multidict import CIMultiDict
    >>> identify(DevAuth("acme"), CIMultiDict()).tenant_id
    'acme'
    """
    match auth:
        case DevAuth(tenant=tenant):
            _same_tenant(tenant, _single(headers, TENANT_HEADER))
            _same_tenant(tenant, _single(headers, OTHER_TENANT_HEADER))
            return Caller(tenant_id=tenant, via="dev")
        case ProxyAuth(key):
            _require_key(key, _single(headers, KEY_HEADER))
            tenant = _require_tenant(_single(headers, TENANT_HEADER))
            _same_tenant(tenant, _single(headers, OTHER_TENANT_HEADER))
            return _named(tenant, _single(headers, USER_HEADER))
        case JwtAuth():
            claims = auth.claims(_require_bearer(_single(headers, hdrs.AUTHORIZATION)))
            tenant = tenant_of(claims, auth.tenant_claim)
            _same_tenant(tenant, _single(headers, TENANT_HEADER))
            _same_tenant(tenant, _single(headers, OTHER_TENANT_HEADER))
            return Caller(tenant_id=tenant, user=user_of(claims), via="jwt")
        case _:
            assert_never(auth)


@lru_cache(maxsize=1024)  # the same people call again and again; refusals are not remembered
def _named(tenant: str, encoded_user: str | None) -> Caller:
    user = None if encoded_user is None else parse_user(encoded_user)
    return Caller(tenant_id=tenant, user=user, via="proxy")


def _single(headers: MultiMapping[str], name: str) -> str | None:
    value = headers.get(name)
    if value is not None and len(headers.getall(name)) > 1:
        raise InvalidRequest("repeated_header", field=name)
    return value


def _require_key(expected: str, given: str | None) -> None:
    if given is None:
        raise Unauthenticated("missing_key", challenge=_CHALLENGE)
    # aiohttp hands undecodable bytes on as surrogates: they must compare, not raise.
    if not hmac.compare_digest(given.encode(errors="surrogateescape"), expected.encode()):
        raise Unauthenticated("wrong_key", challenge=_CHALLENGE)


def _require_bearer(given: str | None) -> str:
    """The token of `Authorization: Bearer` (RFC 6750 section 2.1)."""
    scheme, _, token = (given or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("missing_token", challenge=MISSING)
    return token.strip()


def _require_tenant(given: str | None) -> str:
    if not given:
        raise Unauthenticated("missing_tenant", challenge=_CHALLENGE)
    if not is_identifier(given):
        raise InvalidRequest("invalid_tenant", field=TENANT_HEADER)
    return given


def _same_tenant(tenant: str, named: str | None) -> None:
    if named is not None and named != tenant:
        raise TenantMismatch
