"""The runner's own route: compiling a bundle ahead of its handler's first call."""

from collections.abc import AsyncIterator
from pathlib import Path

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


async def test_a_gateway_has_no_such_route(tmp_path: Path) -> None:
    settings = load({"RUNNER_BACKEND": "embedded", "RUNNER_BUNDLE_DIR": str(tmp_path)})
    app = create_app(settings, load=lambda: settings)
    async with TestClient(TestServer(app)) as gateway, gateway.post("/warmup") as answer:
        assert answer.status == 404
