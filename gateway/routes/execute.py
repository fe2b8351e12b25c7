"""`/api/ext/{extension}[/{path}]`: run an extension's handler.

Everything that can refuse a call without its body does so before the body is read.
"""

import uuid

from aiohttp import hdrs, web

from backends.contract import ExecuteContext, ExecuteRequest, ExecuteResult, Limits, Pairs
from backends.envelope import guest_timeout_ms
from backends.header_policy import client_to_guest, guest_to_client
from gateway.answer import Answer
from gateway.installs.contract import Install
from gateway.installs.endpoints import match, methods_for
from gateway.keys import LIVE
from gateway.outcomes import EndpointNotDeclared, MethodNotAllowed, failure_of
from gateway.routes.delegate import delegated
from gateway.routes.method_override import Call, from_query, overridden
from gateway.routes.server_timing import server_timing
from gateway.routes.target import handler_path, query_pairs, split_raw
from middleware.access_log import note
from middleware.body_limit import read_body
from middleware.caching import CACHE_RULE, CacheRule
from middleware.caller import CALLER, DevAuth
from middleware.errors import InvalidRequest
from middleware.request_id import request_id_of
from middleware.service_auth import SERVICE_TOKEN

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SAFE = frozenset({"GET", "HEAD"})
_MAX_KEY = 255


async def execute(request: web.Request) -> web.StreamResponse:
    """Authorise, build the call, delegate, answer with what the guest said."""
    if request.method not in METHODS:
        raise MethodNotAllowed(METHODS)
    live = request.app[LIVE]
    raw_path, raw_query = split_raw(request.raw_path)
    extension, path = handler_path(raw_path, prefix_segments=2)
    install = await live.installs.resolve(request[CALLER].tenant_id, extension)
    note(request, tenant=install.tenant_id, extension=install.registry_id)

    asked = Call(method=request.method, query=query_pairs(raw_query), body=None)
    hints = isinstance(live.settings.auth, DevAuth)
    _require_declared(install, path, hints=hints)
    if asked.method == "OPTIONS" and not _declares(install, "OPTIONS", path):
        return _options(install, path)
    early = from_query(asked.query) if asked.method == "POST" else asked.method
    if early is not None:
        _require_method(install, early, path)
    call = overridden(Call(method=asked.method, query=asked.query, body=await _body(request)))
    if call.method != early:  # the body had a word in it
        _require_method(install, call.method, path)

    with delegated(request, live) as generation:
        result = await generation.backend.execute(
            _execute_request(request, install, call, path, live.settings.timeout_s)
        )
    request[CACHE_RULE] = CacheRule.AS_ANSWERED
    return answer(result)


def answer(result: ExecuteResult) -> Answer:
    """What the guest said, through the header policy.

    Raises:
        ExtensionFailed: the runner could not let the guest answer.
    """
    if result.error is not None:
        raise failure_of(result.error)
    headers = guest_to_client(result.headers) + server_timing(result.queued_ms)
    return Answer(result.status, headers, result.body)


async def _body(request: web.Request) -> bytes | None:
    body = await read_body(request)
    # The protocol has GET and HEAD without a body, and every other call with one.
    return None if request.method in _SAFE else body or b""


def _execute_request(
    request: web.Request, install: Install, call: Call, path: str, timeout_s: float
) -> ExecuteRequest:
    request_id = request_id_of(request)
    caller = request[CALLER]
    key = _idempotency_key(request, call.method)
    own: Pairs = (
        ("x-request-id", request_id),
        ("x-alga-tenant", install.tenant_id),
        ("x-alga-extension", install.registry_id),
    )
    if key is not None:
        own += (("x-idempotency-key", key),)
    return ExecuteRequest(
        request_id=request_id,
        context=ExecuteContext(
            tenant_id=install.tenant_id,
            extension_id=install.registry_id,
            content_hash=install.content_hash,
            install_id=install.install_id,
            version_id=install.version_id,
            config=install.config,
            config_version=install.config_version,
            secrets_version=install.secrets_version,
        ),
        method=call.method,
        path=path,
        query=call.query,
        headers=client_to_guest(request.headers.items()) + own,
        body=call.body,
        limits=Limits(timeout_ms=guest_timeout_ms(timeout_s)),
        timeout_s=timeout_s,
        providers=install.providers,
        user=caller.user,
        secret_envelope=install.secret_envelope,
        idempotency_key=key,
        service_token=request[SERVICE_TOKEN],
    )


def _idempotency_key(request: web.Request, method: str) -> str | None:
    """The client's key, else a fresh one; none for a method that changes nothing."""
    if method in _SAFE:
        return None
    key = request.headers.get("x-idempotency-key")
    if not key:
        return str(uuid.uuid4())
    if len(key) > _MAX_KEY or not (key.isascii() and key.isprintable()):
        raise InvalidRequest("invalid_idempotency_key", field="x-idempotency-key")
    return key


def _declares(install: Install, method: str, path: str) -> bool:
    """Whether the manifest has this endpoint; an unknown manifest has every endpoint."""
    return install.endpoints is None or match(install.endpoints, method, path) is not None


def _require_declared(install: Install, path: str, *, hints: bool) -> None:
    if install.endpoints is None or methods_for(install.endpoints, path):
        return
    declared = tuple(f"{one.method} {one.path}" for one in install.endpoints)
    raise EndpointNotDeclared(declared if hints else ())


def _require_method(install: Install, method: str, path: str) -> None:
    if install.endpoints is not None and not _declares(install, method, path):
        raise MethodNotAllowed(methods_for(install.endpoints, path) | {"OPTIONS"})


def _options(install: Install, path: str) -> web.Response:
    """A plain OPTIONS that the extension does not handle itself: what may be asked here."""
    declared = methods_for(install.endpoints or (), path)
    return web.Response(status=204, headers={hdrs.ALLOW: ", ".join(sorted(declared | {"OPTIONS"}))})
