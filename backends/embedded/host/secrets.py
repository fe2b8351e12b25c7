"""secrets.get and secrets.list-keys, and the opening of the sealed envelope."""

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime

import orjson

from backends.contract import SecretEnvelope
from backends.embedded.host.call import Call, Err, Ok
from backends.embedded.host.never_waits import answers_at_once

CAPABILITY = "cap:secrets.get"


class SecretsUnreadable(Exception):
    """The envelope cannot be opened. `reason` is a machine word; nothing of the content is kept.

    Reasons: vault_not_configured, expired, expiry_malformed, ciphertext_malformed.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def open_secrets(envelope: SecretEnvelope | None) -> Mapping[str, str] | None:
    """The secrets by name; None without an envelope, empty for a blank one.

    The inline form is read: base64 of a JSON object of strings. Envelopes of a vault's
    transit engine are not, since this program holds no vault credentials.

    Raises:
        SecretsUnreadable: see its reasons.
    """
    if envelope is None:
        return None
    if expires_at := (envelope.expires_at or "").strip():
        _refuse_expired(expires_at)
    if not envelope.ciphertext_b64.strip():
        return {}
    if (envelope.algorithm or "").lower().startswith("vault-transit"):
        raise SecretsUnreadable("vault_not_configured")
    secrets = _read_inline(envelope.ciphertext_b64.strip())
    if secrets is None:
        raise SecretsUnreadable("ciphertext_malformed")
    return secrets


@answers_at_once
def get(call: Call, key: str) -> Ok | Err:
    """One secret. Errors: denied without the capability, missing."""
    if not call.may(CAPABILITY):
        return Err("denied")
    if call.secrets is None or key not in call.secrets:
        return Err("missing")
    return Ok(call.secrets[key])


@answers_at_once
def list_keys(call: Call) -> list[str]:
    """The secrets' names in order; none without the capability."""
    return sorted(call.secrets or ()) if call.may(CAPABILITY) else []


def _refuse_expired(expires_at: str) -> None:
    try:
        expiry = datetime.fromisoformat(expires_at.upper())  # RFC 3339 section 5.6: t and z, too
    except ValueError:
        raise SecretsUnreadable("expiry_malformed") from None
    if expiry.tzinfo is None:  # where the offset is not optional
        raise SecretsUnreadable("expiry_malformed")
    if expiry <= datetime.now(UTC):
        raise SecretsUnreadable("expired")


def _read_inline(ciphertext_b64: str) -> dict[str, str] | None:
    # None instead of an exception: a decoder's error keeps the text that it failed on.
    try:
        document = orjson.loads(base64.b64decode(ciphertext_b64, validate=True))
    except (binascii.Error, ValueError):
        return None
    if not isinstance(document, dict):
        return None
    if not all(isinstance(value, str) for value in document.values()):
        return None
    return document
