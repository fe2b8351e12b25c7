"""The call of POST /v1/execute, both directions: envelope <-> ExecuteRequest.

Pure. A gateway in front of a runner uses `encode_request`, a runner `decode_request`; the
answer is in result.py. POST /warmup, which names a bundle and no more, is here too.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from backends.contract import (
    REQUEST_ID_FORM,
    ExecuteContext,
    ExecuteRequest,
    Limits,
    SecretEnvelope,
    User,
    is_identifier,
)
from backends.envelope import members as members
from backends.envelope.members import EnvelopeError, Members, from_base64, to_base64
from backends.ui_url import is_content_hash

_WHICH_BUNDLE = Members(str, "context", "content_hash", "tenant_id", "extension_id")
_OF_CONTEXT = Members(str, "context", "request_id", "install_id", "version_id")
_OF_LIMITS = Members(int, "limits", "timeout_ms", "memory_mb", "fuel")
_REQUEST_LINE = Members(str, "http", "method", "path")
_WHO = Members(str, "user", "user_id", "user_email", "user_name", "user_type")
_FOR_WHOM = Members(str, "user", "client_name", "company_name", "client_id")
_SEALED = Members(
    str,
    "secret_envelope",
    *("ciphertext_b64", "algorithm", "key_path", "mount", "version", "expires_at"),
)


def encode_request(request: ExecuteRequest) -> bytes:
    """Write the envelope of one call.

    `body_b64` is null when no body came and "" when an empty one did; of a query or header
    name that repeats, the last value counts, for the protocol has one value per name.

    Raises:
        EnvelopeError: "nested_too_deeply", of a caller's own envelope beyond some 250 levels: four
            times as many can be read as can be written.
    """
    if request.said is None:
        return orjson.dumps(_envelope(request), default=_plain)
    envelope = dict(request.said)
    envelope["context"] = {**envelope["context"], "request_id": request.request_id}
    if request.body is not None:
        envelope["http"] = {**envelope["http"], "body_b64": to_base64(request.body)}
    try:
        return orjson.dumps(envelope)
    except orjson.JSONEncodeError:
        raise EnvelopeError("nested_too_deeply") from None


def _envelope(request: ExecuteRequest) -> dict[str, Any]:
    context = request.context
    user = request.user
    secrets = request.secret_envelope
    limits: dict[str, int] = {"timeout_ms": request.limits.timeout_ms}
    if request.limits.memory_mb is not None:
        limits["memory_mb"] = request.limits.memory_mb
    if request.limits.fuel is not None:
        limits["fuel"] = request.limits.fuel
    envelope: dict[str, Any] = {
        "context": {
            "request_id": request.request_id,
            "tenant_id": context.tenant_id,
            "extension_id": context.extension_id,
            "install_id": context.install_id,
            "version_id": context.version_id,
            "content_hash": context.content_hash,
            "config": context.config,
        },
        "http": {
            "method": request.method,
            "path": request.path,
            "query": dict(request.query),
            "headers": dict(request.headers),
            "body_b64": None if request.body is None else to_base64(request.body),
        },
        "limits": limits,
        "providers": request.providers,
    }
    if secrets is not None:
        envelope["secret_envelope"] = _without_none(
            ciphertext_b64=secrets.ciphertext_b64,
            algorithm=secrets.algorithm,
            key_path=secrets.key_path,
            mount=secrets.mount,
            version=secrets.version,
            expires_at=secrets.expires_at,
        )
    if user is not None:
        envelope["user"] = {
            "user_id": user.user_id,
            "user_email": user.user_email,
            "user_name": user.user_name,
            "user_type": user.user_type,
            "client_name": user.client_name,
            "client_id": user.client_id,
            "additional_fields": user.additional_fields,
        }
    return envelope


def decode_request(
    raw: bytes,
    *,
    timeout_s: float,
    request_id: str,
    guest_budget_s: float | None = None,
    idempotency_key: str | None = None,
    config_version: str | None = None,
    secrets_version: str | None = None,
    service_token: str | None = None,
) -> ExecuteRequest:
    """Read the envelope that a host application sent.

    Args:
        timeout_s: the whole budget of the call.
        request_id: counts when the envelope names none of its own that is well formed.
        guest_budget_s: what the guest's time is a share of; None: the whole budget. A
            `limits.timeout_ms` is kept where it is smaller than that share.

    Raises:
        EnvelopeError: "envelope_not_json", or "missing_member", "wrong_type" or
            "invalid_member" with the field.
    """
    try:
        envelope = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise EnvelopeError("envelope_not_json") from None
    if not isinstance(envelope, dict):
        raise EnvelopeError("wrong_type", "(the envelope)")
    context = members.json_object(envelope, "context", "context")
    http = members.json_object(envelope, "http", "http")
    limits = members.json_object(envelope, "limits", "limits", default={})
    content_hash, tenant_id, extension_id = _WHICH_BUNDLE.required(context)
    given_id, install_id, version_id = _OF_CONTEXT.optional(context)
    method, path = _REQUEST_LINE.required(http)
    headers = {
        name.lower(): value
        for name, value in members.string_map(http, "headers", "http.headers").items()
    }
    allowed = _limits(limits, guest_budget_s or timeout_s)
    content_hash = _content_hash(tenant_id, extension_id, content_hash)
    body = _body(http)
    # As `encode_request` is to say it again.
    context["content_hash"] = content_hash
    http["method"] = method = method.upper()
    http["headers"] = headers
    envelope["limits"] = {**limits, "timeout_ms": allowed.timeout_ms}
    return ExecuteRequest(
        request_id=given_id if given_id and REQUEST_ID_FORM.fullmatch(given_id) else request_id,
        context=ExecuteContext(
            tenant_id=tenant_id,
            extension_id=extension_id,
            content_hash=content_hash,
            install_id=install_id,
            version_id=version_id,
            config=members.string_map(context, "config", "context.config"),
            config_version=config_version,
            secrets_version=secrets_version,
        ),
        method=method,
        path=path,
        query=tuple(members.string_map(http, "query", "http.query").items()),
        headers=tuple(headers.items()),
        body=body,
        limits=allowed,
        timeout_s=timeout_s,
        providers=members.strings(envelope, "providers", "providers"),
        user=_user(envelope),
        secret_envelope=_secrets(envelope),
        idempotency_key=idempotency_key,
        service_token=service_token,
        said=envelope,
    )


def encode_warmup(content_hash: str) -> bytes:
    """Write the body of POST /warmup."""
    return orjson.dumps({"content_hash": content_hash})


def decode_warmup(raw: bytes) -> str | None:
    """The bundle that a POST /warmup names; None when it names none.

    >>> decode_warmup(b'{"content_hash":"latest"}') is None
    True
    """
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    named = document.get("content_hash") if isinstance(document, dict) else None
    return named if isinstance(named, str) and is_content_hash(named) else None


@lru_cache(maxsize=256)  # an application asks for the same few; a refusal is not kept
def _content_hash(tenant_id: str, extension_id: str, content_hash: str) -> str:
    """The hash as this program writes it, once the two ids beside it have proved well formed."""
    for name, value in (("tenant_id", tenant_id), ("extension_id", extension_id)):
        if not is_identifier(value):
            raise EnvelopeError("invalid_member", f"context.{name}")
    content_hash = content_hash.lower()
    if not content_hash.startswith("sha256:"):
        content_hash = f"sha256:{content_hash}"
    if not is_content_hash(content_hash):
        raise EnvelopeError("invalid_member", "context.content_hash")
    return content_hash


def _body(http: dict[str, Any]) -> bytes | None:
    if http.get("body_b64") is None:
        return None
    body_b64 = http.pop("body_b64")  # it may be long, and would be held twice
    if not isinstance(body_b64, str):
        raise EnvelopeError("wrong_type", "http.body_b64")
    return from_base64(body_b64, reason="invalid_member", field="http.body_b64")


def _limits(limits: Mapping[str, Any], budget_s: float) -> Limits:
    return _limits_within(budget_s, *_OF_LIMITS.optional(limits))


@lru_cache(maxsize=64)  # as few as there are kinds of handlers; a refusal is not kept
def _limits_within(
    budget_s: float, timeout_ms: int | None, memory_mb: int | None, fuel: int | None
) -> Limits:
    for name, value in (("timeout_ms", timeout_ms), ("memory_mb", memory_mb), ("fuel", fuel)):
        if value is not None and value < 0:
            raise EnvelopeError("wrong_type", f"limits.{name}")
    budget_ms = guest_timeout_ms(budget_s)
    return Limits(
        timeout_ms=budget_ms if timeout_ms is None else max(1, min(timeout_ms, budget_ms)),
        memory_mb=memory_mb,
        fuel=fuel,
    )


@lru_cache(maxsize=16)
def guest_timeout_ms(timeout_s: float) -> int:
    """The guest's share of a call's budget, so that its own timeout is heard before ours.

    Less 10 %, at most one second less, and never under half of it.

    >>> guest_timeout_ms(30.0), guest_timeout_ms(1.0), guest_timeout_ms(0.001)
    (29000, 900, 1)
    """
    budget_ms = timeout_s * 1000
    margin = min(budget_ms * 0.1, 1000.0)
    return max(1, int(max(budget_ms - margin, budget_ms / 2)))


def _user(envelope: Mapping[str, Any]) -> User | None:
    if envelope.get("user") is None:
        return None
    user = members.json_object(envelope, "user", "user")
    if "client_name" in user and "company_name" in user:
        raise EnvelopeError("invalid_member", "user.company_name")
    user_id, user_email, user_name, user_type = _WHO.required(user)
    client_name, alias, client_id = _FOR_WHOM.optional(user)
    return User(
        user_id=user_id,
        user_email=user_email,
        user_name=user_name,
        user_type=user_type,
        client_name=client_name or alias or "",
        client_id=client_id,
        additional_fields=members.string_map(user, "additional_fields", "user.additional_fields"),
    )


def _secrets(envelope: Mapping[str, Any]) -> SecretEnvelope | None:
    if envelope.get("secret_envelope") is None:
        return None
    sealed = members.json_object(envelope, "secret_envelope", "secret_envelope")
    ciphertext_b64, algorithm, key_path, mount, version, expires_at = _SEALED.optional(sealed)
    if ciphertext_b64 is None:
        raise EnvelopeError("missing_member", "secret_envelope.ciphertext_b64")
    return SecretEnvelope(
        ciphertext_b64=ciphertext_b64,
        algorithm=algorithm,
        key_path=key_path,
        mount=mount,
        version=version,
        expires_at=expires_at,
    )


def _without_none(**members: str | None) -> dict[str, str]:
    return {name: value for name, value in members.items() if value is not None}


def _plain(value: object) -> object:
    if isinstance(value, Mapping):  # a read-only view, as frozen values hold
        return dict(value)
    raise TypeError(type(value).__name__)
