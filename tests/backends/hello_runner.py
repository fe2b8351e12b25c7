"""The fake runner with the example extension `hello` in it, as far as every backend shows it."""

import json

from tests.backends.calls import CONTENT_HASH
from tests.fakes.runner import Answer, Envelope, Received


def hello_guest(received: Received) -> Answer:
    """What examples/hello answers on /hello and /echo, and to whoever asks for anything else."""
    envelope = received.envelope
    if envelope["context"]["content_hash"] != CONTENT_HASH:
        return Envelope(status=502, error="bundle_fetch_failed: fetch failed: 404")
    method, path = envelope["http"]["method"], envelope["http"]["path"]
    if path == "/echo" and method == "POST":
        return Envelope(
            headers={"content-type": "application/octet-stream"}, body=received.guest_body or b""
        )
    if path == "/hello" and method in ("GET", "HEAD"):
        return _json(
            200,
            {"tenant": envelope["context"]["tenant_id"]},
            {"x-ext-warning": "no user is known"},
        )
    if path in ("/echo", "/hello"):
        return _json(405, {"error": "method_not_allowed"}, {"allow": "GET"})
    return _json(404, {"error": "no_such_path"})


def _json(status: int, body: object, headers: dict[str, str] | None = None) -> Envelope:
    return Envelope(
        status=status,
        headers={"content-type": "application/json", **(headers or {})},
        body=json.dumps(body).encode(),
    )
