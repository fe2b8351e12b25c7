"""What the runner verb answers where docs/runner.md says that it differs, and its own route."""

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from gateway.app import create_app
from gateway.runner_app import ROUTES, runner_settings
from gateway.settings import load
from tests.gateway.harness import HASH

TOKEN = "a-service-token-for-tests"
KNOWN = {"x-runner-service-token": TOKEN}
Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def runner(tmp_path: Path) -> AsyncIterator[Client]:
    environ = {
        "RUNNER_BACKEND": "embedded",
        "RUNNER_BUNDLE_DIR": str(tmp_path),
        "RUNNER_SERVICE_TOKEN": TOKEN,
    }
    settings = runner_settings(load(environ), host="127.0.0.1", port=0)
    app = create_app(settings, load=lambda: settings, routes=ROUTES)
    async with TestClient(TestServer(app)) as client:
        yield client


async def _problem(answer: ClientResponse) -> tuple[int, str]:
    return answer.status, (await answer.json(content_type=None))["error"]


async def test_a_bundle_that_is_not_there_is_told_to_the_call_that_needs_it(runner: Client) -> None:
    async with runner.post("/warmup", json={"content_hash": HASH}, headers=KNOWN) as answer:
        assert answer.status == 204
        assert await answer.read() == b""


async def test_who_knocks_with_an_empty_envelope_is_let_in_or_not_and_runs_nothing(
    runner: Client,
) -> None:
    async with runner.post("/v1/execute", json={}, headers=KNOWN) as answer:
        assert answer.status == 200
        told = await answer.json()
    assert (told["status"], told["error"]) == (400, "missing_routing_headers")
    async with runner.post("/v1/execute", json={}) as answer:
        assert await _problem(answer) == (401, "unauthenticated")


@pytest.mark.parametrize("headers", [{}, {"x-runner-service-token": "wrong"}], ids=["no", "wrong"])
async def test_only_those_who_may_call_handlers_may_warm_them(
    runner: Client, headers: dict[str, str]
) -> None:
    async with runner.post("/warmup", json={"content_hash": HASH}, headers=headers) as answer:
        assert await _problem(answer) == (401, "unauthenticated")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"content_hash":"../x"}'])
async def test_what_names_no_bundle_is_refused(runner: Client, body: bytes) -> None:
    async with runner.post("/warmup", data=body, headers=KNOWN) as answer:
        assert await _problem(answer) == (400, "invalid_request")


ROUTING = {"x-alga-tenant": "t", "x-alga-extension": "e"}
CONTEXT = {"tenant_id": "t", "extension_id": "e", "content_hash": HASH}


@pytest.mark.parametrize(
    ("envelope", "told"),
    [
        ("{", "envelope not json"),
        ({"context": CONTEXT}, "missing member in http"),
        ({"context": CONTEXT, "http": {"method": "GET", "path": 1}}, "wrong type in http.path"),
        (
            {"context": CONTEXT, "http": {"method": "POST", "path": "/", "body_b64": "!"}},
            "invalid member in http.body_b64",
        ),
        (
            {"context": CONTEXT | {"tenant_id": "u"}, "http": {"method": "GET", "path": "/"}},
            "header and envelope differ in x-alga-tenant",
        ),
    ],
    ids=["no-json", "missing", "wrong-type", "no-base64", "another-tenant"],
)
async def test_what_cannot_be_read_is_refused_outside_of_an_envelope(
    runner: Client, envelope: object, told: str
) -> None:
    data = envelope if isinstance(envelope, str) else orjson.dumps(envelope)
    async with runner.post("/v1/execute", data=data, headers=KNOWN | ROUTING) as answer:
        problem = await answer.json(content_type=None)
    assert (answer.status, problem["error"]) == (400, "invalid_request")
    assert told in problem["detail"]


async def test_a_bundle_comes_from_the_folder_and_its_call_needs_no_content_type(
    runner: Client,
) -> None:
    envelope = {"context": CONTEXT, "http": {"method": "GET", "path": "/"}}
    headers = KNOWN | ROUTING | {"content-type": "text/plain"}
    async with runner.post("/v1/execute", data=orjson.dumps(envelope), headers=headers) as answer:
        assert answer.status == 200
        assert (await answer.json())["error"] == "bundle_fetch_failed"
    async with runner.get(f"/ext-ui/e/{HASH}/index.html?tenant=t") as answer:  # whoever asks
        assert await _problem(answer) == (404, "asset_not_found")


async def test_no_host_leads_to_a_page(runner: Client) -> None:
    async with runner.get("/", headers=KNOWN | {"host": "t-e.apps.example"}) as answer:
        assert await _problem(answer) == (404, "not_found")


async def test_a_gateway_has_no_such_route(tmp_path: Path) -> None:
    settings = load({"RUNNER_BACKEND": "embedded", "RUNNER_BUNDLE_DIR": str(tmp_path)})
    app = create_app(settings, load=lambda: settings)
    async with TestClient(TestServer(app)) as gateway, gateway.post("/warmup") as answer:
        assert answer.status == 404
