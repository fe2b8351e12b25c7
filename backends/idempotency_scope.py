"""Scopes idempotency keys, so that two callers, or two calls, can choose the same word."""

import hashlib

from backends.contract import ExecuteRequest


def scoped_key(request: ExecuteRequest) -> str | None:
    """A call's key within its tenant, extension, install, user, method and path: 32 hex digits.

    None when it has no key.
    """
    if not request.idempotency_key:
        return None
    context = request.context
    said = (
        context.tenant_id,
        context.extension_id,
        context.install_id,
        request.user.user_id if request.user else None,
        request.method,
        request.path,
        request.idempotency_key,
    )
    # Not JSON, which cannot hold the surrogates that undecodable bytes have become.
    return hashlib.blake2b(ascii(said).encode(), digest_size=16).hexdigest()
