"""`/runner/ext-ui/...` and `/ext-ui/...`: an extension's UI files, streamed."""

from collections.abc import AsyncIterable, Callable

from aiohttp import web

from backends.contract import AssetRequest, AssetResponse, Pairs
from backends.header_policy import client_to_asset
from backends.prompt import Cancel
from backends.upstream.bodies import WholeBody, content_length
from gateway.asset_cache.bodies import SLICE_BYTES
from gateway.callers.ui_tenants import UI_COOKIE
from gateway.fast_path.parts import Done
from gateway.fast_path.request import FastRequest, of_fields
from gateway.generations.live import Live
from gateway.http.answer import Answer
from gateway.keys import ASSET_CACHE, LIVE
from gateway.routes.asset_address import (
    PAGE,
    Address,
    address_of,
    tenant_of_page,
    tenant_of_protocol,
)
from gateway.routes.delegate import delegated
from gateway.routes.heartbeats import may_have_heartbeats, with_heartbeats
from gateway.routes.prompt import PendingCall
from gateway.routes.server_timing import server_timing
from gateway.ui_reload import asking_for_all, with_script
from middleware.access_log import note
from middleware.backend_tag import SERVED_BY
from middleware.caching import CACHE_RULE, CacheRule
from middleware.isolation import EXTENSION_FILE
from middleware.request_id import request_id_of
from middleware.service_auth import SERVICE_TOKEN

_HTML = "text/html"

TenantOf = Callable[[web.Request, Address], str | None]
"""Whose bundle this is."""


async def asset(request: web.Request) -> web.StreamResponse:
    """What a browser asks of the gateway."""
    return await _serve(request, tenant_of_page, reload=request.app[LIVE].settings.ui_reload)


async def runner_asset(request: web.Request) -> web.StreamResponse:
    """What a gateway asks of a runner: it has decided for which tenant."""
    return await _serve(request, tenant_of_protocol, reload=False)


def early_asset(request: FastRequest) -> Answer | None:
    """The file from the memory of the cache, for a caller who may have it."""
    request._state[EXTENSION_FILE] = True  # so are the refusals below
    cache, fields = request.app[ASSET_CACHE], request.fields
    if not cache.is_on:
        return None
    if "if-match" in fields or "if-unmodified-since" in fields:
        return None
    if_none_match = fields.get("if-none-match")
    if if_none_match is None and "if-modified-since" in fields:
        return None
    address = address_of(request.raw_path)
    if address.signed:
        return None  # a page, whose answer carries a cookie
    tenant = tenant_of_page(request, address)
    hit = cache.hit(
        address.extension,
        address.content_hash,
        address.path,
        tenant,
        if_none_match,
        None if request.method == "HEAD" else fields.get("range"),
        fields.get("accept-encoding"),
        if_range=fields.get("if-range"),
    )
    if hit is None or len(hit.body) > SLICE_BYTES:
        return None
    note(request, tenant=tenant, extension=address.extension)
    state = request._state
    live = request.app[LIVE]
    state[SERVED_BY] = live.served_by
    state[CACHE_RULE] = CacheRule.IMMUTABLE  # pages are not kept
    again = None
    if not live.settings.ui_sandbox:  # else the tenant may be known by more than these bytes
        again = cache.again(address.extension, address.content_hash, address.path, tenant, hit)
    return Answer(hit.status, hit.headers, hit.body, again=again)


def prompt_asset(request: FastRequest, done: Done) -> Cancel | None:
    """`asset` for the plain case: the runner's own answer, passed on."""
    live = request.live
    backend = live.slot.current.prompt
    if backend is None or request.method != "GET":
        return None
    if request.app[ASSET_CACHE].is_on or live.settings.ui_reload:
        return None
    address = address_of(request.raw_path)
    if address.path == PAGE:
        return None
    tenant = tenant_of_page(request, address)
    note(request, tenant=tenant, extension=address.extension)
    call = _asset_request(request, address, tenant, live)
    return _PendingAsset(request, live, done).begin(backend.begin_asset, call)


class _PendingAsset(PendingCall[AssetResponse]):
    __slots__ = ()

    def whole(self, outcome: AssetResponse) -> Answer | None:
        request, body = self.request, outcome.body
        request._state[CACHE_RULE] = _cache_rule(outcome, address_of(request.raw_path))
        if isinstance(body, WholeBody):
            return Answer(outcome.status, _fields(request, outcome), body.view())
        if not isinstance(body, bytes):
            return None
        return Answer(outcome.status, _fields(request, outcome), body)

    async def in_parts(self, outcome: AssetResponse) -> web.StreamResponse:
        return await _send(self.request, outcome)


async def _serve(request: web.Request, tenant_of: TenantOf, *, reload: bool) -> web.StreamResponse:
    """Find out for which tenant, delegate, stream; `reload`: pages get the script for that."""
    request[EXTENSION_FILE] = True
    address = address_of(request.raw_path)
    tenant = tenant_of(request, address)
    note(request, tenant=tenant, extension=address.extension)
    live = request.app[LIVE]
    asset_request = _asset_request(request, address, tenant, live)
    reload = reload and address.may_be_page
    with delegated(request, live) as generation:
        response = await request.app[ASSET_CACHE].fetch(
            asking_for_all(asset_request) if reload else asset_request,
            tenant,
            generation.backend.fetch_asset,
        )
        if reload:
            response = await with_script(response, address.path, head=request.method == "HEAD")
        if address.path == PAGE and request.method == "GET":
            generation.backend.page_fetched(asset_request)
        request[CACHE_RULE] = _cache_rule(response, address)
        return await _send(request, response)


def _asset_request(
    request: web.Request, address: Address, tenant: str | None, live: Live
) -> AssetRequest:
    return AssetRequest(
        request_id=request_id_of(request),
        method=request.method,
        extension_id=address.extension,
        content_hash=address.content_hash,
        path=address.path,
        query=address.query_for(tenant),
        tenant_id=tenant,
        headers=of_fields(request, client_to_asset),
        timeout_s=live.settings.timeout_s,
        service_token=request[SERVICE_TOKEN],
    )


def _cache_rule(response: AssetResponse, address: Address) -> CacheRule:
    """The address names the content, but a page must be able to name newer content.

    A 304 does not say what the client holds (RFC 9110 section 15.4.5), so the path has to.
    """
    is_page: bool | None = None
    for name, value in response.headers:
        if name == "content-type":  # of two, one is enough
            is_page = is_page or value.lower().startswith(_HTML)
    if is_page is None:
        is_page = address.may_be_page
    return CacheRule.REVALIDATE if is_page else CacheRule.IMMUTABLE


def _fields(request: web.Request, found: AssetResponse) -> Pairs:
    headers, cookie = found.headers, request._state.get(UI_COOKIE)
    if found.queued_ms is not None:
        headers += server_timing(found.queued_ms)
    return headers + cookie if cookie else headers


async def _send(request: web.Request, found: AssetResponse) -> web.StreamResponse:
    headers = _fields(request, found)
    if isinstance(found.body, bytes):
        return Answer(found.status, headers, found.body)
    length = content_length(headers)
    if isinstance(request, FastRequest) and length is not None:
        try:
            return await request.streams.stream(found.status, headers, length, found.body)
        finally:
            await found.body.aclose()
    response = web.StreamResponse(status=found.status)
    response.headers.update(headers)
    parts: AsyncIterable[bytes] = found.body
    if may_have_heartbeats(found.headers):
        parts = with_heartbeats(found.body)
    try:
        return await _stream(request, response, parts)
    finally:
        await found.body.aclose()


async def _stream(
    request: web.Request, response: web.StreamResponse, parts: AsyncIterable[bytes]
) -> web.StreamResponse:
    """Pass the body on as it comes; back-pressure is the client's own pace.

    An error after the first byte leaves here as it is: whoever catches it aborts the
    connection, so that a body cut short can be told from a whole one.
    """
    await response.prepare(request)
    async for part in parts:
        await response.write(part)
    await response.write_eof()
    return response
