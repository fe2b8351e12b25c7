"""`/api/ext/{extension}[/{path}]`: run an extension's handler.

Everything that can refuse a call without its body does so before the body is read.
"""

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple, Self

from aiohttp import hdrs, web

from backends.contract import ExecuteRequest, ExecuteResult, Limits, Pairs
from backends.envelope.call import guest_timeout_ms
from backends.header_policy import client_to_guest, guest_to_client
from backends.idempotency_scope import scoped_key
from backends.prompt import Cancel
from gateway.fast_path.parts import Done
from gateway.fast_path.request import FastRequest, of_fields, of_target
from gateway.http.answer import Answer
from gateway.installs.contract import Install
from gateway.installs.endpoints import methods_for
from gateway.outcomes import EndpointNotDeclared, MethodNotAllowed, failure_of
from gateway.routes.delegate import delegated, live_of
from gateway.routes.method_override import GuestRequest, from_query, overridden
from gateway.routes.plain_field import plain_field
from gateway.routes.prompt import PendingCall
from gateway.routes.server_timing import server_timing
from gateway.routes.target import handler_path, query_pairs, split_raw
from gateway.settings import Settings
from middleware.access_log import note
from middleware.body_limit import read_body
from middleware.caching import CACHE_RULE, CacheRule
from middleware.caller import CALLER, DevAuth
from middleware.request_id import fresh_id, request_id_of
from middleware.service_auth import SERVICE_TOKEN

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SAFE = frozenset({"GET", "HEAD"})


async def execute(request: web.Request) -> web.StreamResponse:
    """Authorise, build the call, delegate, answer with what the guest said."""
    call = _HandlerCall(request)
    install = await call.live.installs.resolve(request[CALLER].tenant_id, call.extension)
    if (options := call.permit(install)) is not None:
        return options
    execute_request = call.execute_request(install, await _body(request))
    with delegated(request, call.live) as generation:
        result = await generation.backend.execute(execute_request)
    return _answered(request, result)


def prompt_execute(request: FastRequest, done: Done) -> Cancel | None:
    """`execute`, without a task: for an install that is known, and a body that is here."""
    call = _HandlerCall(request)
    backend = call.live.slot.current.prompt
    if backend is None:
        return None
    install = call.live.installs.known(request[CALLER].tenant_id, call.extension)
    if install is None or call.permit(install) is not None:
        return None
    body = None if request.method in _SAFE else request.whole_body or b""
    execute_request = call.execute_request(install, body)
    return _PendingExecute(request, call.live, done).begin(backend.begin_execute, execute_request)


class _PendingExecute(PendingCall[ExecuteResult]):
    __slots__ = ()

    def whole(self, outcome: ExecuteResult) -> Answer:
        return _answered(self.request, outcome)


class _Place(NamedTuple):
    """What a request target says of a call."""

    extension: str
    path: str
    query: Pairs
    override: str | None  # the method that a POST's query asks for

    @classmethod
    def of(cls, target: str) -> Self:
        raw_path, raw_query = split_raw(target)
        extension, path = handler_path(raw_path, prefix_segments=2)
        query = query_pairs(raw_query)
        return cls(extension, path, query, from_query(query))


_place = _Place.of


class _HandlerCall:
    """A call of an extension's handler: what its request line says, and what may become of it."""

    __slots__ = ("_early", "_methods", "_place", "_request", "extension", "live")

    def __init__(self, request: web.Request) -> None:
        if request.method not in METHODS:
            raise MethodNotAllowed(METHODS)
        self._request = request
        self.live = live_of(request)
        self._place = of_target(request, _place)
        self.extension = self._place.extension
        self._early: str | None = None
        self._methods: frozenset[str] | None = None  # None: every method may be asked for

    def permit(self, install: Install) -> web.Response | None:
        """Refuse what can be refused without its body; answer a plain OPTIONS."""
        note(self._request, tenant=install.tenant_id, extension=install.registry_id)
        method, methods = self._request.method, self._declared(install)
        if methods is not None and not methods:
            is_told = isinstance(self.live.settings.auth, DevAuth)
            raise EndpointNotDeclared(_listed(install) if is_told else ())
        self._methods = methods
        if method == "OPTIONS" and methods is not None and "OPTIONS" not in methods:
            return _options(methods)
        self._early = self._place.override if method == "POST" else method
        if self._early is not None:
            self._require(self._early)
        return None

    def execute_request(self, install: Install, body: bytes | None) -> ExecuteRequest:
        """What the runner gets, once `permit` has let the call through."""
        request, place = self._request, self._place
        settings = self.live.settings
        guest = GuestRequest(method=request.method, query=place.query, body=body)
        if guest.method == "POST":
            guest = overridden(guest)
            if guest.method != self._early:  # the body had a word in it
                self._require(guest.method)
        made = _execute_request(request, install, guest, place.path, settings)
        if made.idempotency_key is None or isinstance(settings.auth, DevAuth):
            return made
        # Not every runner asks whose a key is. The guest has read the client's own word.
        return replace(made, idempotency_key=scoped_key(made))

    def _declared(self, install: Install) -> frozenset[str] | None:
        """The methods that the manifest has for this path; an unknown manifest has them all."""
        endpoints, request = install.endpoints, self._request
        if endpoints is None:
            return None
        if not isinstance(request, FastRequest):
            return methods_for(endpoints, self._place.path)
        known = request.target_made.get(methods_for)
        if known is None or known[0] is not endpoints:
            known = (endpoints, methods_for(endpoints, self._place.path))
            request.target_made[methods_for] = known
        methods: frozenset[str] = known[1]
        return methods

    def _require(self, method: str) -> None:
        if self._methods is not None and method not in self._methods:
            raise MethodNotAllowed(self._methods | {"OPTIONS"})


def _answered(request: web.Request, result: ExecuteResult) -> Answer:
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
    request: web.Request, install: Install, guest: GuestRequest, path: str, settings: Settings
) -> ExecuteRequest:
    request_id = request_id_of(request)
    caller = request[CALLER]
    key = _idempotency_key(request, guest.method)
    own: Pairs = (
        ("x-request-id", request_id),
        ("x-alga-tenant", install.tenant_id),
        ("x-alga-extension", install.registry_id),
    )
    if key is not None:
        own += (("x-idempotency-key", key),)
    return ExecuteRequest(
        request_id=request_id,
        context=install.context,
        method=guest.method,
        path=path,
        query=guest.query,
        headers=of_fields(request, client_to_guest) + own,
        body=guest.body,
        limits=_limits(settings.guest_budget_s),
        timeout_s=settings.timeout_s,
        providers=install.providers,
        user=caller.user,
        secret_envelope=install.secret_envelope,
        idempotency_key=key,
        service_token=request[SERVICE_TOKEN],
    )


@lru_cache(maxsize=16)
def _limits(budget_s: float) -> Limits:
    return Limits(timeout_ms=guest_timeout_ms(budget_s))


def _idempotency_key(request: web.Request, method: str) -> str | None:
    """The client's key, else a fresh one; none for a method that changes nothing."""
    if method in _SAFE:
        return None
    return plain_field(request, "x-idempotency-key") or fresh_id()


def _listed(install: Install) -> tuple[str, ...]:
    return tuple(f"{one.method} {one.path}" for one in install.endpoints or ())


def _options(declared: frozenset[str]) -> web.Response:
    """A plain OPTIONS that the extension does not handle itself: what may be asked here."""
    return web.Response(status=204, headers={hdrs.ALLOW: ", ".join(sorted(declared | {"OPTIONS"}))})
