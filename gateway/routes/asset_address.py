"""Which UI file a target names, and for which tenant it is asked."""

from functools import lru_cache
from typing import NamedTuple

from aiohttp import web

from backends.asset_path import may_be_page
from backends.contract import is_identifier
from backends.ui_url import is_content_hash
from gateway.callers.ui_tenants import PARAMETER, UI_COOKIE, page_cookie, value_in_cookies
from gateway.fast_path.request import of_fields
from gateway.keys import UI_TENANTS
from gateway.outcomes import InvalidContentHash
from gateway.routes.delegate import live_of
from gateway.routes.target import decoded, query_pairs, split_raw, without_fields
from middleware.caller import CALLER, DevAuth
from middleware.carried import carried
from middleware.errors import InvalidRequest, TenantMismatch

TENANT = "tenant"
PAGE = "index.html"


class Address(NamedTuple):
    """What the target of a UI file says."""

    extension: str
    content_hash: str
    path: str  # percent-encoded; the page where the target ends with the bundle
    tenant: str | None  # whom it names, which proves nothing
    signed: str | None  # the value that proves it
    query: str  # raw, without these two
    may_be_page: bool  # HTML, for all that the path tells

    def query_for(self, tenant: str | None) -> str:
        """What the runner is asked with."""
        if tenant is None:
            return self.query
        return _named_in(self.query, tenant)


@lru_cache(maxsize=1024)
def _named_in(query: str, tenant: str) -> str:
    named = f"{TENANT}={tenant}"  # an identifier: nothing in it needs an escape
    return f"{query}&{named}" if query else named


@lru_cache(maxsize=1024)  # a page asks for the same few files again and again
def address_of(target: str, folder: str = "ext-ui") -> Address:
    """Take a raw target apart.

    Args:
        folder: what the extension's name comes after.

    Raises:
        InvalidPath, InvalidContentHash, InvalidRequest: what is wrong with it.
    """
    raw_path, raw_query = split_raw(target)
    _, _, rest = raw_path.partition(f"/{folder}/")
    raw_extension, _, rest = rest.partition("/")
    raw_hash, _, path = rest.partition("/")
    extension, content_hash = decoded(raw_extension), decoded(raw_hash).lower()
    if not is_content_hash(content_hash):
        raise InvalidContentHash
    if not is_identifier(extension):
        raise InvalidRequest("invalid_extension", field="path")
    query = dict(query_pairs(raw_query))
    kept = without_fields(raw_query, frozenset({TENANT, PARAMETER}))
    path = path or PAGE  # there, runners are not agreed on what they have
    tenant, signed, is_page = query.get(TENANT), query.get(PARAMETER), may_be_page(path)
    return Address(extension, content_hash, path, tenant, signed, kept, is_page)


def tenant_of_page(request: web.Request, address: Address) -> str | None:
    """Whose bundle this is, from whoever may be believed; never from a bare parameter.

    Raises:
        TenantMismatch: the address names another tenant than the one it was made for.
    """
    caller = carried(request, CALLER)
    known = request.app[UI_TENANTS]
    settings = live_of(request).settings
    if caller is not None:
        tenant: str | None = caller.tenant_id
    elif address.signed:
        tenant = known.verify(address.signed, address.extension, address.content_hash)
        if tenant is not None:
            request[UI_COOKIE] = page_cookie(request, address.signed, settings)
            if settings.ui_sandbox:
                known.remember(tenant, address.extension, address.content_hash)
    else:
        value = of_fields(request, value_in_cookies)
        tenant = known.verify(value, address.extension, address.content_hash) if value else None
        if tenant is None and settings.ui_sandbox:
            tenant = known.remembered(address.extension, address.content_hash)
    if tenant is None and isinstance(settings.auth, DevAuth):
        tenant = settings.auth.tenant
    if address.tenant and tenant and address.tenant != tenant:
        raise TenantMismatch
    return tenant


def tenant_of_protocol(request: web.Request, address: Address) -> str | None:
    """The runner protocol's rule: the query's tenant, else the header's."""
    named = address.tenant or request.headers.get("x-tenant-id")
    if named and not is_identifier(named):
        raise InvalidRequest("invalid_tenant", field=TENANT)
    return named or None
