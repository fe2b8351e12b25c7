"""The one table: why a request failed -> what the caller is told (RFC 9457).

A new exception inherits its parent's answer until it gets a row of its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from backends import errors as backend
from gateway.installs.contract import ExtensionNotInstalled, RegistryUnavailable
from gateway.outcomes import (
    EndpointNotDeclared,
    EngineNotStarted,
    ExtensionFailed,
    GuestTimeout,
    IdempotencyKeyReused,
    InvalidContentHash,
    MethodNotAllowed,
    NothingAtRoot,
)
from middleware import errors as refusal
from middleware.access_log import note
from middleware.backend_tag import ServedBy, served_by_of
from middleware.failure_log import log_failure
from middleware.request_id import request_id_of

CONTENT_TYPE = "application/problem+json"
UNEXPECTED = "internal_error"


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of failure, as callers know it. `code` is stable; clients decide by it."""

    code: str
    status: int
    title: str
    retryable: bool = False


PROBLEMS: Mapping[str, Problem] = MappingProxyType({
    problem.code: problem
    for problem in (
        Problem("invalid_request", 400, "The request is not well formed"),
        Problem("invalid_path", 400, "The path is ambiguous or not allowed"),
        Problem("invalid_content_hash", 400, "The content hash is not sha256:<64 hex digits>"),
        Problem("unauthenticated", 401, "Nobody knows who calls"),
        Problem("forbidden", 403, "The caller may not do this"),
        Problem("tenant_mismatch", 403, "The request names another tenant"),
        Problem("not_found", 404, "Nothing answers at this address"),
        Problem("extension_not_installed", 404, "The extension is not installed"),
        Problem("endpoint_not_declared", 404, "The extension declares no such endpoint"),
        Problem("asset_not_found", 404, "The extension has no such file"),
        Problem("method_not_allowed", 405, "The method is not allowed here"),
        Problem("request_timeout", 408, "The request came too slowly", True),
        Problem("precondition_failed", 412, "A precondition does not hold"),
        Problem("payload_too_large", 413, "The body is too large"),
        Problem("expectation_failed", 417, "The Expect field asks for something unknown"),
        Problem("idempotency_key_reused", 422, "The idempotency key belongs to another request"),
        Problem("rate_limited", 429, "Too many requests", True),
        Problem("headers_too_large", 431, "The request's head is too large"),
        Problem(UNEXPECTED, 500, "The gateway failed"),
        Problem("runner_not_configured", 500, "No runner is configured"),
        Problem("bad_gateway", 502, "The runner did not answer as it should"),
        Problem("extension_failed", 502, "The extension failed"),
        Problem("runner_unreachable", 503, "The runner cannot be reached", True),
        Problem("runner_overloaded", 503, "Too much is running", True),
        Problem("identity_unavailable", 503, "Nobody can say now who calls", True),
        Problem("registry_unavailable", 503, "Nobody can say what is installed", True),
        Problem("runner_timeout", 504, "The extension took too long"),
    )
})  # fmt: skip

CODES: Mapping[type[BaseException], str] = MappingProxyType({
    refusal.InvalidRequest: "invalid_request",
    refusal.InvalidPath: "invalid_path",
    refusal.Unauthenticated: "unauthenticated",
    refusal.IdentityUnavailable: "identity_unavailable",
    refusal.Forbidden: "forbidden",
    refusal.TenantMismatch: "tenant_mismatch",
    refusal.PayloadTooLarge: "payload_too_large",
    refusal.RequestTimeout: "request_timeout",
    refusal.Overloaded: "runner_overloaded",
    refusal.RateLimited: "rate_limited",
    InvalidContentHash: "invalid_content_hash",
    ExtensionNotInstalled: "extension_not_installed",
    EndpointNotDeclared: "endpoint_not_declared",
    MethodNotAllowed: "method_not_allowed",
    NothingAtRoot: "not_found",
    RegistryUnavailable: "registry_unavailable",
    ExtensionFailed: "extension_failed",
    GuestTimeout: "runner_timeout",
    EngineNotStarted: "runner_unreachable",
    IdempotencyKeyReused: "idempotency_key_reused",
    backend.BackendError: "bad_gateway",
    backend.RunnerNotConfigured: "runner_not_configured",
    backend.RunnerUnreachable: "runner_unreachable",
    backend.RunnerOverloaded: "runner_overloaded",
    backend.RunnerTimeout: "runner_timeout",
    backend.RunnerRefusedSize: "payload_too_large",
    backend.CallRefused: "invalid_request",
    backend.AssetNotFound: "asset_not_found",
    backend.AssetPathRefused: "invalid_path",
    HttpProcessingError: "invalid_request",
    LineTooLong: "headers_too_large",
    Exception: UNEXPECTED,
})  # fmt: skip

# What aiohttp raises on the way to a handler, and our own files raise in its words.
CODES_BY_STATUS: Mapping[int, str] = MappingProxyType({
    400: "invalid_request",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    412: "precondition_failed",
    413: "payload_too_large",
    417: "expectation_failed",
    431: "headers_too_large",
})  # fmt: skip


def problem_for(exc: BaseException) -> Problem:
    """The answer to `exc`: its own row's, else that of its nearest ancestor."""
    if isinstance(exc, web.HTTPException) and 400 <= exc.status < 500:
        return PROBLEMS[CODES_BY_STATUS.get(exc.status, "invalid_request")]
    return PROBLEMS[next(CODES[kind] for kind in type(exc).__mro__ if kind in CODES)]


def render(request: web.Request, exc: BaseException, current: ServedBy) -> web.Response:
    """Build the answer to a failed request, and note the failure for its log line.

    What nobody expected gets a line of its own: no caller is told what it was.

    Args:
        current: named where no backend had a part in it.
    """
    problem = problem_for(exc)
    reason = _reason(problem, exc)
    phase = getattr(exc, "phase", None)
    if problem.code == UNEXPECTED:
        log_failure(request, exc)
    served_by = served_by_of(request, current)
    note(
        request,
        backend=served_by.kind,
        generation=served_by.generation,
        error=problem.code,
        reason=reason,
        phase=phase,
    )
    document = {
        "type": f"/gateway/problems/{problem.code}.html",
        "title": problem.title,
        "status": problem.status,
        "detail": f"{_sentence(problem, exc, reason)} {getattr(exc, 'advice', '')}".rstrip(),
        "error": problem.code,
        "reason": reason,
        "requestId": request_id_of(request),
        "backend": served_by.kind,
        "phase": phase,
        "retryable": problem.retryable,
        **getattr(exc, "members", {}),
    }
    return web.Response(
        status=problem.status,
        body=orjson.dumps(document),
        headers=dict(_headers(exc)),
        content_type=CONTENT_TYPE,
    )


def _reason(problem: Problem, exc: BaseException) -> str:
    # aiohttp's own exceptions have a `reason` too: a phrase such as "Not Found".
    if problem.code == UNEXPECTED or isinstance(exc, web.HTTPException):
        return problem.code
    return str(getattr(exc, "reason", problem.code))


def _sentence(problem: Problem, exc: BaseException, reason: str) -> str:
    """One sentence for people: this program's words and figures, nothing a peer sent."""
    words = reason.replace("_", " ")
    match exc:
        case refusal.PayloadTooLarge():
            return f"{problem.title}: at most {exc.limit} bytes are taken."
        case backend.RunnerTimeout() if exc.budget_s is not None:
            return f"{problem.title}: {words} after {exc.budget_s:g} s."
        case refusal.InvalidRequest() if exc.field:
            return f"{problem.title}: {words} in {exc.field}."
        case _ if reason == problem.code:
            return f"{problem.title}."
        case _:
            return f"{problem.title}: {words}."


def _headers(exc: BaseException) -> Iterator[tuple[str, str]]:
    if isinstance(exc, web.HTTPMethodNotAllowed):
        yield "Allow", ", ".join(sorted(exc.allowed_methods))
    if isinstance(exc, MethodNotAllowed):
        yield "Allow", ", ".join(sorted(exc.allowed))
    if isinstance(exc, refusal.Unauthenticated):
        yield "WWW-Authenticate", exc.challenge
    retry_after_s = getattr(exc, "retry_after_s", None)
    if retry_after_s is not None:
        yield "Retry-After", str(retry_after_s)
