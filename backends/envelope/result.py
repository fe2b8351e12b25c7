"""The answer of POST /v1/execute, both directions: envelope <-> ExecuteResult.

Pure. A gateway in front of a runner uses `decode_result`, a runner `encode_result`.
"""

import re

import orjson

from backends.contract import WITHOUT_CONTENT, ExecuteResult, Pairs
from backends.envelope.members import EnvelopeError, from_base64, to_base64

UNKNOWN_ERROR = "unknown_error"  # the class of an error that names none

_ERROR_CLASS = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)


def decode_result(raw: bytes) -> ExecuteResult:
    """Read a runner's answer.

    A status that has no content loses it. A list as one header's value is joined with ", ".

    Raises:
        EnvelopeError: not an envelope: the reason says which rule it breaks.
    """
    try:
        answer = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise EnvelopeError("answer_not_json") from None
    if not isinstance(answer, dict):
        raise EnvelopeError("answer_not_an_object")
    status = answer.get("status")
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
        raise EnvelopeError("answer_without_http_status", "status")
    error = answer.get("error")
    if error is not None:
        return ExecuteResult(status=status, error=error_class(error))
    body_b64 = answer.get("body_b64")
    if body_b64 is None:
        body = None
    elif isinstance(body_b64, str):
        body = from_base64(body_b64, reason="answer_body_not_base64", field="body_b64")
    else:
        raise EnvelopeError("answer_body_not_base64", "body_b64")
    return ExecuteResult(
        status=status,
        headers=_answer_headers(answer.get("headers")),
        body=None if status in WITHOUT_CONTENT else body,
    )


def encode_result(result: ExecuteResult) -> bytes:
    """Write the answer of a runner: all four members, and each header once, the last one."""
    return orjson.dumps(
        {
            "status": result.status,
            "headers": {name.lower(): value for name, value in result.headers},
            "body_b64": None if result.body is None else to_base64(result.body),
            "error": result.error,
        }
    )


def error_class(error: object) -> str:
    """The part of an envelope's `error` that may be shown: its class, without the detail.

    >>> error_class("bundle_fetch_failed: https://store.internal/?sig=x")
    'bundle_fetch_failed'
    >>> error_class({"not": "text"}), error_class("Everything: broke")
    ('unknown_error', 'unknown_error')
    """
    if isinstance(error, str):
        name = error.partition(":")[0].strip()
        if _ERROR_CLASS.fullmatch(name):
            return name
    return UNKNOWN_ERROR


def _answer_headers(headers: object) -> Pairs:
    if headers is None:
        return ()
    if not isinstance(headers, dict):
        raise EnvelopeError("answer_headers_not_an_object", "headers")
    pairs = []
    for name, value in headers.items():
        if isinstance(value, list):
            value = ", ".join(part for part in value if isinstance(part, str))
        if isinstance(value, str):
            pairs.append((name.lower(), value))
    return tuple(pairs)
