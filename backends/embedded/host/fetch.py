"""http.fetch: one HTTP request of a guest, through the egress policy."""

import re
from collections.abc import Iterable, Mapping
from typing import cast

from yarl import URL

from backends.contract import Pairs
from backends.embedded.host.call import Call, Err, Ok
from backends.embedded.host.egress import (
    EgressFailed,
    EgressRefused,
    EgressRequest,
    EgressResponse,
    ResponseUnreadable,
)
from backends.embedded.host.on_loop import Unanswered, run_on_loop

CAPABILITY = "cap:http.fetch"
TIMEOUT_S = 30.0

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_FIELD_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")  # RFC 9110 section 5.5, less CR LF NUL
_URI_CHARACTERS = re.compile(r"[!-~]+")
_VISIBLE = re.compile(rb"[\t -~]*")

_TUNNELS = frozenset({"CONNECT", "TRACE"})
_OURS = frozenset({
    "connection", "content-length", "expect", "host", "keep-alive", "proxy-authenticate",
    "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
})  # fmt: skip
"""Fields about the connection, and Host: a guest that may reach one name must not ask the
same server for another."""


def fetch(call: Call, request: Mapping[str, object]) -> Ok | Err:
    """Send `request` (an http-request record) and return an http-response record.

    Errors: invalid-url (also a malformed method or header), not-allowed (no capability, or
    the policy forbids host or address), transport (no response within the budget), internal
    (the body broke off or is too long). Redirects come back as they are.
    """
    if not call.may(CAPABILITY):
        return Err("not-allowed")
    outgoing = _read_request(request)
    if outgoing is None:
        return Err("invalid-url")
    if outgoing.method.upper() in _TUNNELS:
        return Err("not-allowed")
    services = call.services
    try:
        response = run_on_loop(
            services.loop, lambda: services.egress.send(outgoing), call.remaining_s(TIMEOUT_S)
        )
    except EgressRefused:
        return Err("not-allowed")
    except (EgressFailed, Unanswered):
        return Err("transport")
    except ResponseUnreadable:
        return Err("internal")
    return Ok(_to_record(response))


def _read_request(request: Mapping[str, object]) -> EgressRequest | None:
    method = cast(str, request["method"])
    url = _absolute_url(cast(str, request["url"]))
    headers = _outgoing_headers(cast(Iterable[Mapping[str, str]], request["headers"]))
    if url is None or headers is None or not _TOKEN.fullmatch(method):
        return None
    body = cast(bytes | None, request["body"])
    return EgressRequest(method=method, url=url, headers=headers, body=body)


def _absolute_url(text: str) -> URL | None:
    """`text` as a URL to dial, or None. Credentials in it are refused, as the Fetch standard does.

    What is already in URI characters is sent as written: normalising an escape would break a
    signed address.
    """
    try:
        url = URL(text)
        if url.scheme not in {"http", "https"} or not url.raw_host or url.raw_user is not None:
            return None
        if not _URI_CHARACTERS.fullmatch(text):
            return url
        return URL(f"{url.origin()}{URL(text, encoded=True).raw_path_qs}", encoded=True)
    except ValueError:
        return None


def _outgoing_headers(headers: Iterable[Mapping[str, str]]) -> Pairs | None:
    pairs = tuple((header["name"], header["value"]) for header in headers)
    if not all(_TOKEN.fullmatch(name) and _FIELD_VALUE.fullmatch(value) for name, value in pairs):
        return None
    return tuple((name, value) for name, value in pairs if name.lower() not in _OURS)


def _to_record(response: EgressResponse) -> dict[str, object]:
    return {
        "status": response.status,
        "headers": [
            {
                "name": name.decode("ascii").lower(),
                "value": value.decode("ascii") if _VISIBLE.fullmatch(value) else "",
            }
            for name, value in response.headers
        ],
        "body": response.body,
    }
