"""The person behind a call, as the application puts it into a header.

The value is base64url (RFC 4648 section 5, padding optional) of the JSON object that the
runner protocol calls `user`. It goes into the envelope, so it is checked before it is
believed: a member of the wrong type would make a runner refuse the whole call.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Final, NoReturn

import orjson

from backends.contract import User
from middleware.errors import InvalidRequest

MAX_ENCODED_BYTES: Final = 8 * 1024

_REQUIRED: Final = ("user_id", "user_email", "user_name", "user_type")
_CLIENT_NAMES: Final = ("client_name", "company_name")  # the protocol's alias, not both
_KNOWN: Final = frozenset({*_REQUIRED, *_CLIENT_NAMES, "client_id", "additional_fields"})


def parse_user(encoded: str) -> User:
    """The user that the header names.

    Raises:
        InvalidRequest: reason "invalid_user"; `field` names the member that is missing,
            unknown or of the wrong type, or is None when the whole is unreadable.
    """
    document = _document(encoded)
    for name in document:
        if name not in _KNOWN:
            # Not the name itself: it is the client's text.
            _refuse("unknown_member")
    if all(name in document for name in _CLIENT_NAMES):
        _refuse("company_name")
    client_name = document.get("client_name", document.get("company_name", ""))
    client_id = document.get("client_id")
    return User(
        **{name: _text(document.get(name), name) for name in _REQUIRED},
        client_name=_text(client_name, "client_name"),
        client_id=None if client_id is None else _text(client_id, "client_id"),
        additional_fields=_texts(document.get("additional_fields", {})),
    )


def _document(encoded: str) -> Mapping[str, object]:
    if len(encoded) > MAX_ENCODED_BYTES:
        _refuse(None)
    try:
        padded = encoded.rstrip("=") + "=" * (-len(encoded.rstrip("=")) % 4)
        document = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        _refuse(None)
    if not isinstance(document, dict):
        _refuse(None)
    return document


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        _refuse(name)
    return value


def _texts(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict):
        _refuse("additional_fields")
    return {name: _text(text, "additional_fields") for name, text in value.items()}


def _refuse(field: str | None) -> NoReturn:
    # The cause is dropped: a decoder's message quotes what it could not decode.
    raise InvalidRequest("invalid_user", field=field) from None
