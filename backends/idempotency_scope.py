"""Whose an idempotency key is: the same word of another caller, or for another call, is another."""

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
    # Not as JSON, which has no word for bytes that were no text.
    return hashlib.blake2b(ascii(said).encode(), digest_size=16).hexdigest()
