"""`POST /v1/execute`: the runner protocol in, the runner protocol out.

A host application that builds envelopes itself points RUNNER_BASE_URL at the gateway and
changes nothing else. `python -m gateway runner` answers with the same handler.
"""

import hmac
from dataclasses import replace

from aiohttp import hdrs, web

from backends.contract import ExecuteRequest, ExecuteResult
from backends.envelope.call import decode_request, decode_warmup
from backends.envelope.members import EnvelopeError
from backends.envelope.result import encode_result
from backends.prompt import Cancel
from gateway.fast_path.parts import Done
from gateway.fast_path.request import FastRequest
from gateway.http.answer import Answer
from gateway.keys import LIVE
from gateway.routes.delegate import delegated, live_of
from gateway.routes.plain_field import plain_field
from gateway.routes.prompt import PendingCall
from middleware.access_log import note
from middleware.body_limit import read_body
from middleware.caller import KEY_HEADER, DevAuth, ProxyAuth, require_developer
from middleware.errors import InvalidRequest, Unauthenticated
from middleware.request_id import named_in_body, request_id_of
from middleware.service_auth import SERVICE_TOKEN

TOKEN_HEADER = "x-runner-service-token"  # noqa: S105 - the name of a field, not a token
_CHALLENGE = 'Runner-Service-Token realm="runner"'
_JSON = (("content-type", "application/json"),)
_ROUTING = ("x-alga-tenant", "x-alga-extension")


async def execute_envelope(request: web.Request) -> Answer:
    """Run the call that the caller's own envelope describes.

    Failures that the protocol answers inside an envelope pass with their class; what hinders
    the gateway itself is a problem document, as everywhere.
    """
    require_service(request)
    raw = await read_body(request)
    call = _call(request, raw)
    if call is None:
        return _envelope(ExecuteResult(status=400, error="missing_routing_headers"))
    with delegated(request, request.app[LIVE]) as generation:
        result = await generation.backend.execute(call)
    return _answer(request, result)


def prompt_execute_envelope(request: FastRequest, done: Done) -> Cancel | None:
    """`execute_envelope`, without a task."""
    live = request.live
    backend = live.slot.current.prompt
    if backend is None:
        return None
    require_service(request)
    call = _call(request, request.whole_body)
    if call is None:
        return None
    return _PendingExecute(request, live, done).begin(backend.begin_execute, call)


class _PendingExecute(PendingCall[ExecuteResult]):
    __slots__ = ()

    def whole(self, outcome: ExecuteResult) -> Answer:
        return _answer(self.request, outcome)


def _call(request: web.Request, raw: bytes | None) -> ExecuteRequest | None:
    """What the envelope says; None: a field that routes it is missing."""
    routing = (request.headers.get(_ROUTING[0]), request.headers.get(_ROUTING[1]))
    if not all(routing):
        return None
    call = _decoded(request, raw or b"")
    tenant_id, extension_id = said = (call.context.tenant_id, call.context.extension_id)
    if routing != said:  # the header chooses the bundle, and the body the identity
        name = _ROUTING[routing[0] == tenant_id]
        raise InvalidRequest("header_and_envelope_differ", field=name)
    note(request, tenant=tenant_id, extension=extension_id)
    return call


def _answer(request: web.Request, result: ExecuteResult) -> Answer:
    if result.error is not None:
        note(request, reason=result.error)
    return _envelope(result)


async def warmup(request: web.Request) -> Answer:
    """`POST /warmup`: compile a bundle ahead of its handler's first call; 204, also when it cannot.

    A runner's route; what a bundle lacks is told to the call that needs it.
    """
    require_service(request)
    content_hash = decode_warmup(await read_body(request) or b"")
    if content_hash is None:
        raise InvalidRequest("invalid_content_hash", field="content_hash")
    with delegated(request, request.app[LIVE]) as generation:
        await generation.backend.warm(content_hash)
    return Answer(204, (), None)


def require_service(request: web.Request) -> None:
    """Let through who knows the service token or the gateway key.

    With neither configured only a developer's own machine may.

    Raises:
        Unauthenticated: anything else.
        Forbidden: that machine, but a web page that is open there.
    """
    live = live_of(request)
    token, auth = request[SERVICE_TOKEN], live.settings.auth
    key = auth.key if isinstance(auth, ProxyAuth) else None
    if _knows(token, request.headers.get(TOKEN_HEADER)):
        return
    if _knows(key, request.headers.get(KEY_HEADER)):
        return
    if token is not None or key is not None:
        if TOKEN_HEADER in request.headers or KEY_HEADER in request.headers:
            raise Unauthenticated("wrong_service_token", challenge=_CHALLENGE)
        raise Unauthenticated("missing_service_token", challenge=_CHALLENGE)
    if not (isinstance(auth, DevAuth) and live.settings.listen.is_loopback):
        raise Unauthenticated("service_token_not_configured", challenge=_CHALLENGE)
    # Browsers name the page with every POST, gateways never do; and a gateway may know this
    # runner by any name, as behind the proxy of a pod.
    if hdrs.ORIGIN in request.headers:
        require_developer(auth, request)


def _knows(secret: str | None, said: str | None) -> bool:
    if secret is None or said is None:
        return False
    return hmac.compare_digest(said.encode(errors="surrogateescape"), secret.encode())


def _decoded(request: web.Request, raw: bytes) -> ExecuteRequest:
    settings, name = live_of(request).settings, request_id_of(request)
    try:
        call = decode_request(
            raw,
            timeout_s=settings.timeout_s,
            guest_budget_s=settings.guest_budget_s,
            request_id=name,
            idempotency_key=plain_field(request, "x-idempotency-key"),
            config_version=plain_field(request, "x-ext-config-version"),
            secrets_version=plain_field(request, "x-ext-secrets-version"),
            service_token=request[SERVICE_TOKEN],
        )
    except EnvelopeError as broken:
        raise InvalidRequest(broken.reason, field=broken.field) from None
    if call.request_id == name:
        return call
    # One name for the client, the log and the runner.
    return replace(call, request_id=named_in_body(request, call.request_id))


def _envelope(result: ExecuteResult) -> Answer:
    return Answer(200, _JSON, encode_result(result))
