"""Bytes that are no text, wherever a client can put them: refused or ignored, never a failure."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from itertools import product
from pathlib import Path

import orjson
import pytest

from gateway.keys import FAST_PATH
from tests.fakes.identity_provider import AUDIENCE, ISSUER, IdentityProvider
from tests.fakes.runner import FakeRunner
from tests.gateway.fast_path.wire import Wire, request, wire_to
from tests.gateway.harness import HASH, INSTALL, Gateway, in_front_of, running

KEY, ADMIN, TOKEN = "a-long-enough-proxy-key", "an-admin-token", "a-service-token-for-tests"
ENVELOPE = orjson.dumps(
    {
        "context": {
            "request_id": "r-1",
            "tenant_id": "dev",
            "extension_id": INSTALL.registry_id,
            "content_hash": HASH,
        },
        "http": {"method": "GET", "path": "/hello", "headers": {}, "query": {}},
        "limits": {"timeout_ms": 1000},
    }
)
PAGE = f"/ext-ui/{INSTALL.registry_id}/{HASH}"
ROUTES = {
    "call": ("GET /api/ext/acme.crm/hello", b""),
    "call with a body": ("POST /api/ext/acme.crm/echo", b"hi"),
    "preflight": ("OPTIONS /api/ext/acme.crm/hello", b""),
    "file": (f"GET {PAGE}/app.js", b""),
    "page": (f"GET {PAGE}/index.html", b""),
    "changes": (f"HEAD /ext-ui-reload/registry-1/{HASH}/changes", b""),
    "envelope": ("POST /v1/execute", ENVELOPE),
    "address of a page": ("GET /gateway/v1/extensions/acme.crm/ui-url", b""),
    "backend": ("GET /gateway/v1/backend", b""),
    "reload": ("POST /gateway/v1/reload", b""),
    "logs": ("HEAD /gateway/v1/logs", b""),
    "lines": ("GET /gateway/v1/console/lines?request_id=r", b""),
    "console": ("GET /gateway/", b""),
    "health": ("GET /healthz", b""),
    "metrics": ("GET /metrics", b""),
    "problem": ("GET /gateway/problems/not_found.html", b""),
    "nothing": ("GET /nowhere", b""),
}
NAMES = (
    "accept", "accept-encoding", "accept-language", "access-control-request-headers",
    "access-control-request-method", "authorization", "connection", "content-encoding",
    "content-type", "cookie", "expect", "forwarded", "host", "if-match", "if-modified-since",
    "if-none-match", "if-range", "if-unmodified-since", "origin", "range", "referer",
    "sec-fetch-mode", "sec-fetch-site", "te", "traceparent", "transfer-encoding", "upgrade",
    "user-agent", "via", "x-alga-extension", "x-alga-tenant", "x-api-key",
    "x-ext-config-version", "x-ext-secrets-version", "x-forwarded-for", "x-forwarded-host",
    "x-forwarded-proto", "x-gateway-admin-token", "x-gateway-key", "x-gateway-user",
    "x-http-method-override", "x-idempotency-key", "x-request-id", "x-runner-service-token",
    "x-tenant-id", "x-unknown",
)  # fmt: skip
FORMS = {  # where a reader takes the value apart first
    "authorization": ("", "Bearer ", "Bearer eyJhbGciOiJFUzI1NiJ9.e30."),
    "cookie": ("", "ext-ui-tenant=", "a=b; ext-ui-tenant=W10.aa."),
    "origin": ("", "https://"),
}
IN_TARGETS = ("\udcff", "%FF", "%ED%A0%80")  # as it is; escaped; a surrogate in UTF-8, escaped
PARAMETERS = ("_ext", "tenant", "path", "__method", "follow", "tail", "request", "plan", "x")

Requests = Iterator[tuple[str, bytes]]


@pytest.fixture(params=["dev", "proxy", "jwt"])
async def site(
    request: pytest.FixtureRequest, runner: FakeRunner, tmp_path: Path
) -> AsyncIterator[tuple[Gateway, list[str]]]:
    """A gateway, and the fields that open all of its routes."""
    credentials = [f"x-runner-service-token: {TOKEN}", "x-alga-tenant: dev"]
    told = {"GATEWAY_ASSET_CACHE_MB": "8", "EXT_UI_RELOAD": "true"}
    if request.param != "dev":
        told |= {"GATEWAY_AUTH": "proxy", "GATEWAY_PROXY_KEY": KEY, "GATEWAY_ADMIN_TOKEN": ADMIN}
        told |= {"EXT_GATEWAY_ALLOWED_ORIGINS": "https://app.example", "EXT_UI_SANDBOX": "true"}
        credentials += [f"x-gateway-key: {KEY}", f"x-gateway-admin-token: {ADMIN}"]
    if request.param == "jwt":
        provider, keys = IdentityProvider(), tmp_path / "keys.json"
        keys.write_bytes(orjson.dumps(provider.document))
        told |= {
            "GATEWAY_AUTH": "jwt",
            "GATEWAY_JWT_ISSUER": ISSUER,
            "GATEWAY_JWT_AUDIENCE": AUDIENCE,
            "GATEWAY_JWT_KEY_FILE": str(keys),
        }
        token = provider.token(tenant_id="dev", exp=4_000_000_000)
        credentials.append(f"authorization: Bearer {token}")
    async with running(in_front_of(runner, **told)) as gateway:
        yield gateway, credentials


async def failures(gateway: Gateway, requests: Requests) -> list[str]:
    """What was answered with 500."""
    found = []
    async with AsyncExitStack() as wires:
        wire: Wire | None = None
        for name, raw in requests:
            if wire is None:
                wire = await wires.enter_async_context(wire_to(gateway.port))
            wire.send(raw)
            answer = await wire.answer(to=raw.partition(b" ")[0].decode())
            if answer.status == 500:
                found.append(name)
            if answer.status in (400, 417):  # many of these end their connection
                wire = None
    return found


def in_fields(credentials: list[str]) -> Requests:
    for route, (line, body) in ROUTES.items():
        for known, name in product((credentials, []), NAMES):
            plain = [field for field in known if not field.startswith(f"{name}:")]
            if route == "preflight":
                plain = ["origin: https://app.example", "access-control-request-method: GET"]
                plain = [field for field in plain if not field.startswith(f"{name}:")]
            for form in FORMS.get(name, ("",)):
                field = f"{name}: {form}\udcff"
                yield f"{route}, {field!r}", request(line, *plain, field, body=body)


def in_targets(credentials: list[str]) -> Requests:
    for route, (line, body) in ROUTES.items():
        line = line.partition("?")[0]
        for known, hostile in product((credentials, []), IN_TARGETS):
            lines = [f"{line}?{name}={hostile}" for name in PARAMETERS]
            lines += [f"{line}?{hostile}=x", f"{line}/{hostile}"]
            lines.append(line.replace("acme.crm", hostile).replace("registry-1", hostile))
            for each in lines:
                yield f"{route}, {each!r}", request(each, *known, body=body)


@pytest.mark.parametrize("places", [in_fields, in_targets])
async def test_they_are_no_failure_of_the_gateway(
    site: tuple[Gateway, list[str]], places: Callable[[list[str]], Requests]
) -> None:
    gateway, credentials = site
    assert await failures(gateway, places(credentials)) == []
    del gateway.app._state[FAST_PATH]
    assert await failures(gateway, places(credentials)) == []
