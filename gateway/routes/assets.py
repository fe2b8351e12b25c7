"""`/runner/ext-ui/...` and `/ext-ui/...`: an extension's UI files, streamed."""

from collections.abc import Callable
from functools import lru_cache

from aiohttp import web

from backends.contract import AssetRequest, AssetResponse, ByteStream, is_identifier
from backends.header_policy import client_to_asset
from backends.ui_url import is_content_hash
from gateway.answer import Answer
from gateway.keys import ASSET_CACHE, LIVE, UI_TENANTS
from gateway.outcomes import InvalidContentHash
from gateway.routes.delegate import delegated
from gateway.routes.server_timing import server_timing
from gateway.routes.target import decoded, query_pairs, split_raw, with_fields
from gateway.ui_tenants import PARAMETER, UI_COOKIE, page_cookie, value_in_cookies
from middleware.access_log import note
from middleware.caching import CACHE_RULE, CacheRule
from middleware.caller import CALLER, DevAuth
from middleware.carried import carried
from middleware.errors import InvalidRequest, TenantMismatch
from middleware.isolation import EXTENSION_FILE
from middleware.request_id import request_id_of
from middleware.service_auth import SERVICE_TOKEN

_HTML = "text/html"
_TENANT = "tenant"


TenantOf = Callable[[web.Request, str, str, str], str | None]
"""Whose bundle this is, from the request, its raw query, the extension and the hash."""


async def asset(request: web.Request) -> web.StreamResponse:
    """What a browser asks of the gateway."""
    return await _serve(request, _tenant)


async def runner_asset(request: web.Request) -> web.StreamResponse:
    """What a gateway asks of a runner: it has decided for which tenant."""
    return await _serve(request, _told_tenant)


async def _serve(request: web.Request, tenant_of: TenantOf) -> web.StreamResponse:
    """Find out for which tenant, delegate, stream."""
    request[EXTENSION_FILE] = True
    raw_path, raw_query = split_raw(request.raw_path)
    _, _, rest = raw_path.partition("/ext-ui/")
    raw_extension, _, rest = rest.partition("/")
    raw_hash, _, path = rest.partition("/")
    extension, content_hash = decoded(raw_extension), _content_hash(raw_hash)
    if not is_identifier(extension):
        raise InvalidRequest("invalid_extension", field="path")
    tenant = tenant_of(request, raw_query, extension, content_hash)
    note(request, tenant=tenant, extension=extension)
    with delegated(request) as generation:
        response = await request.app[ASSET_CACHE].fetch(
            AssetRequest(
                request_id=request_id_of(request),
                method=request.method,
                extension_id=extension,
                content_hash=content_hash,
                path=path,
                query=with_fields(
                    raw_query,
                    without=frozenset({_TENANT, PARAMETER}),
                    add=((_TENANT, tenant),) if tenant else (),
                ),
                tenant_id=tenant,
                headers=client_to_asset(request.headers.items()),
                timeout_s=request.app[LIVE].settings.timeout_s,
                service_token=request[SERVICE_TOKEN],
            ),
            tenant,
            generation.backend.fetch_asset,
        )
        request[CACHE_RULE] = _cache_rule(response)
        return await _send(request, response)


@lru_cache(maxsize=1024)  # few bundles, and each of their files names one
def _content_hash(raw: str) -> str:
    content_hash = decoded(raw).lower()
    if not is_content_hash(content_hash):
        raise InvalidContentHash
    return content_hash


def _tenant(request: web.Request, raw_query: str, extension: str, content_hash: str) -> str | None:
    """Whose bundle this is, from whoever may be believed; never from a bare parameter.

    Raises:
        TenantMismatch: the address names another tenant than the one it was made for.
    """
    query = dict(query_pairs(raw_query))
    caller = carried(request, CALLER)
    known = request.app[UI_TENANTS]
    settings = request.app[LIVE].settings
    auth = settings.auth
    if caller is not None:
        tenant: str | None = caller.tenant_id
    elif signed := query.get(PARAMETER):
        tenant = known.verify(signed, extension, content_hash)
        if tenant is not None:
            request[UI_COOKIE] = page_cookie(request, signed, settings)
            if settings.ui_sandbox:
                known.remember(tenant, extension, content_hash)
    else:
        tenant = known.verify(value_in_cookies(request), extension, content_hash)
        if tenant is None and settings.ui_sandbox:
            tenant = known.remembered(extension, content_hash)
    if tenant is None and isinstance(auth, DevAuth):
        tenant = auth.tenant
    named = query.get(_TENANT)
    if named and tenant and named != tenant:
        raise TenantMismatch
    return tenant


def _told_tenant(request: web.Request, raw_query: str, _extension: str, _hash: str) -> str | None:
    """The runner protocol's rule: the query's tenant, else the header's."""
    told = dict(query_pairs(raw_query)).get(_TENANT) or request.headers.get("x-tenant-id")
    if told and not is_identifier(told):
        raise InvalidRequest("invalid_tenant", field=_TENANT)
    return told or None


def _cache_rule(response: AssetResponse) -> CacheRule:
    """The address names the content, but a page must be able to name newer content."""
    content_type = dict(response.headers).get("content-type", "")
    return CacheRule.REVALIDATE if content_type.startswith(_HTML) else CacheRule.IMMUTABLE


async def _send(request: web.Request, found: AssetResponse) -> web.StreamResponse:
    headers = found.headers + server_timing(found.queued_ms) + (carried(request, UI_COOKIE) or ())
    if isinstance(found.body, bytes):
        return Answer(found.status, headers, found.body)
    response = web.StreamResponse(status=found.status)
    response.headers.update(headers)
    return await _stream(request, response, found.body)


async def _stream(
    request: web.Request, response: web.StreamResponse, body: ByteStream
) -> web.StreamResponse:
    """Pass the body on as it comes; back-pressure is the client's own pace.

    An error after the first byte leaves here as it is: whoever catches it aborts the
    connection, so that a body cut short can be told from a whole one.
    """
    try:
        await response.prepare(request)
        async for chunk in body:
            await response.write(chunk)
        await response.write_eof()
    finally:
        await body.aclose()
    return response
