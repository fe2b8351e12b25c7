"""The fast path and aiohttp's way give the same answers, streams, hits and refusals included."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.keys import FAST_PATH
from tests.fakes.identity_provider import AUDIENCE, ISSUER, IdentityProvider
from tests.fakes.runner import Envelope, FakeRunner, HttpAnswer, UiFile
from tests.gateway.fast_path.wire import PATIENCE_S, request, wire_to
from tests.gateway.harness import HASH, INSTALL, Gateway, in_front_of, running

UI = f"/runner/ext-ui/registry-1/{HASH}"
SCRIPT = f"{UI}/app.js"
ENVELOPE = json.dumps(
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
).encode()
ROUTING = ("x-alga-tenant: dev", f"x-alga-extension: {INSTALL.registry_id}")
TOKEN = "x-runner-service-token: a-service-token-for-tests"
ORIGIN = "Origin: https://app.example"
CROSS_SITE = "Sec-Fetch-Site: cross-site"
CALL = request("GET /api/ext/acme.crm/hello")

PROVIDER = IdentityProvider()
BEARERS = {
    name: (f"Authorization: Bearer {PROVIDER.token(exp=4_000_000_000, **changed)}",)
    for name, changed in {
        "good": {"tenant_id": "dev"},
        "other tenant": {"tenant_id": "other"},
        "for others": {"tenant_id": "dev", "aud": "others"},
    }.items()
}

ASKED = {
    "file": request(f"GET {SCRIPT}"),
    "file by the short address": request(f"GET {SCRIPT.removeprefix('/runner')}"),
    "file as browsers ask for it": request(f"GET {SCRIPT.replace(':', '%3A')}"),
    "file of a listed origin": request(f"GET {SCRIPT}", ORIGIN),
    "file of another origin": request(f"GET {SCRIPT}", "Origin: https://evil.example"),
    "head of a file": request(f"HEAD {SCRIPT}"),
    "head of a part": request(f"HEAD {SCRIPT}", "Range: bytes=0-6"),
    "part of a file": request(f"GET {SCRIPT}", "Range: bytes=0-6"),
    "impossible part": request(f"GET {SCRIPT}", "Range: bytes=99-"),
    "any version": request(f"GET {SCRIPT}", "If-None-Match: *"),
    "precondition": request(f"GET {SCRIPT}", 'If-Match: "x"'),
    "page": request(f"GET {UI}/index.html"),
    "page with a query": request(f"GET {UI}/index.html?path=%2Fa&tenant=dev"),
    "page of another tenant": request(f"GET {UI}/index.html?tenant=evil"),
    "large file": request(f"GET {UI}/large.bin"),
    "missing file": request(f"GET {UI}/missing.js"),
    "broken runner": request(f"GET {UI}/broken.js"),
    "bad hash": request("GET /runner/ext-ui/registry-1/sha256:zz/app.js"),
    "dot segment": request(f"GET {UI}/../app.js"),
    "escaped slash": request(f"GET {UI}/a%2Fb.js"),
    "bad host": b"GET " + SCRIPT.encode() + b" HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "known tenant": request(f"GET {SCRIPT}", "x-alga-tenant: dev"),
    "foreign tenant": request(f"GET {SCRIPT}", "x-alga-tenant: other"),
    "call": request("GET /api/ext/acme.crm/hello?a=1&b=%20", "Accept: a/b", "Cookie: s=1"),
    "call with an escaped question mark": request("GET /api/ext/acme.crm/items/a%3Fb=1"),
    "call by another name": CALL.replace(b"localhost", b"evil.example"),
    "file by another name": request(f"GET {SCRIPT}").replace(b"localhost", b"evil.example"),
    "call of another site": request("POST /api/ext/acme.crm/echo", CROSS_SITE, body=b"hi"),
    "call of a listed site": request("POST /api/ext/acme.crm/echo", CROSS_SITE, ORIGIN, body=b"hi"),
    "look of another site": request("GET /api/ext/acme.crm/hello", CROSS_SITE),
    "call by the old address": request("GET /api/ext-proxy/acme.crm/hello"),
    "call with a body": request("POST /api/ext/acme.crm/echo", "X-Idempotency-Key: k", body=b"hi"),
    "call with a word in its body": request(
        "POST /api/ext/acme.crm/items/1",
        "Content-Type: application/json",
        body=b'{"__method":"DELETE"}',
    ),
    "head of a call": request("HEAD /api/ext/acme.crm/hello"),
    "undeclared": request("GET /api/ext/acme.crm/nothing"),
    "wrong method": request("PUT /api/ext/acme.crm/hello"),
    "options": request("OPTIONS /api/ext/acme.crm/hello"),
    "preflight": request(
        "OPTIONS /api/ext/acme.crm/hello", ORIGIN, "Access-Control-Request-Method: GET"
    ),
    "not installed": request("GET /api/ext/nobody/hello"),
    "body too large": request("POST /api/ext/acme.crm/echo", body=b"x" * 2000),
    "envelope": request("POST /v1/execute", *ROUTING, TOKEN, body=ENVELOPE),
    "envelope without a token": request("POST /v1/execute", *ROUTING, body=ENVELOPE),
    "envelope without routing": request("POST /v1/execute", TOKEN, body=ENVELOPE),
    "broken envelope": request("POST /v1/execute", *ROUTING, TOKEN, body=b"{"),
    "no envelope": request("POST /v1/execute", *ROUTING, TOKEN),
    "call with a token": request("GET /api/ext/acme.crm/hello", *BEARERS["good"]),
    "call with the token of another tenant": request(
        "GET /api/ext/acme.crm/hello", *BEARERS["other tenant"]
    ),
    "call with a token for others": request("GET /api/ext/acme.crm/hello", *BEARERS["for others"]),
    "call with no token at all": request("GET /api/ext/acme.crm/hello", "Authorization: Bearer x"),
    "two tokens": request("GET /api/ext/acme.crm/hello", *BEARERS["good"], *BEARERS["good"]),
    "file with a token": request(f"GET {SCRIPT}", *BEARERS["good"]),
    "file with a token for others": request(f"GET {SCRIPT}", *BEARERS["for others"]),
    "envelope with a token": request(
        "POST /v1/execute", *ROUTING, TOKEN, *BEARERS["good"], body=ENVELOPE
    ),
    "wrong route": request("GET /v1/execute"),
    "elsewhere": request("GET /nowhere"),
    "health": request("GET /healthz"),
}
TIMES = 3  # a miss, a hit, and the same bytes again

SETTINGS = {
    "plain": {"GATEWAY_ASSET_CACHE_MB": "0"},
    "cached": {"GATEWAY_ASSET_CACHE_MB": "8"},
    "strict": {
        "GATEWAY_ASSET_CACHE_MB": "8",
        "EXT_GATEWAY_ALLOWED_ORIGINS": "https://app.example",
        "EXT_UI_SANDBOX": "true",
        "EXT_UI_FRAME_ANCESTORS": "'self'",
    },
    "jwt": {
        "GATEWAY_ASSET_CACHE_MB": "8",
        "GATEWAY_AUTH": "jwt",
        "GATEWAY_JWT_ISSUER": ISSUER,
        "GATEWAY_JWT_AUDIENCE": AUDIENCE,
    },
}


def guest(runner: FakeRunner) -> None:
    runner.files["large.bin"] = UiFile(body=bytes(range(256)) * 4096, content_type="image/png")
    runner.guest = lambda received: Envelope(
        status=201,
        headers={"content-type": "text/plain", "x-ext-note": "a", "set-cookie": "no=1"},
        body=received.guest_body or b"nothing",
    )


@pytest.fixture(params=SETTINGS)
async def both(
    request: pytest.FixtureRequest, runner: FakeRunner, tmp_path: Path
) -> AsyncIterator[tuple[Gateway, Gateway]]:
    """A gateway with the fast path and one without it, in front of the same runner."""
    guest(runner)
    environ = in_front_of(runner, GATEWAY_MAX_BODY_BYTES="1000", **SETTINGS[request.param])
    if request.param == "jwt":
        keys = tmp_path / "keys.json"
        keys.write_text(json.dumps(PROVIDER.document))
        environ["GATEWAY_JWT_KEY_FILE"] = str(keys)
    async with AsyncExitStack() as stack:
        fast, slow = [await stack.enter_async_context(running(environ)) for _ in range(2)]
        del slow.app._state[FAST_PATH]
        yield fast, slow


def prepare(runner: FakeRunner, case: str) -> None:
    runner.asset_script.clear()
    if case == "broken runner":
        runner.asset_script.extend(HttpAnswer(status=500) for _ in range(TIMES))


@pytest.mark.parametrize("case", ASKED)
async def test_both_ways_lead_to_the_same_answer(
    both: tuple[Gateway, Gateway], runner: FakeRunner, case: str
) -> None:
    raw, method = ASKED[case], ASKED[case].decode().split()[0]
    told = []
    for gateway in both:
        prepare(runner, case)
        async with wire_to(gateway.port) as wire:
            answers = []
            for _ in range(TIMES):
                wire.send(raw)
                answers.append(await wire.answer(to=method))
                if dict(answers[-1].fields).get("connection") == "close":
                    break
        told.append(answers)
    assert told[0] == told[1]


@pytest.mark.parametrize("case", ASKED)
async def test_both_ways_lead_to_the_same_answer_on_a_connection_of_its_own(
    both: tuple[Gateway, Gateway], runner: FakeRunner, case: str
) -> None:
    raw, method = ASKED[case], ASKED[case].decode().split()[0]
    raw = raw.replace(b"\r\n", b"\r\nConnection: Close\r\n", 1)
    told = []
    for gateway in both:
        prepare(runner, case)
        answers = []
        for _ in range(TIMES):
            async with wire_to(gateway.port) as wire:
                wire.send(raw)
                answers.append(await wire.answer(to=method))
                assert ("connection", "close") in [
                    (name, value.lower()) for name, value in answers[-1].fields
                ]
                async with asyncio.timeout(PATIENCE_S):
                    assert await wire.reader.read() == b""
        told.append(answers)
    assert told[0] == told[1]
