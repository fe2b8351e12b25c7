"""`POST /v1/execute`: a host that builds envelopes itself notices no gateway."""

import base64
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import orjson
import pytest

from tests.fakes.runner import Envelope, FakeRunner, HttpAnswer
from tests.gateway.harness import HASH, Gateway, in_front_of, running

TOKEN = {"x-runner-service-token": "a-service-token-for-tests"}
ROUTING = {"x-alga-tenant": "t-1", "x-alga-extension": "registry-1"}
ENVELOPE: dict[str, Any] = {
    "context": {
        "request_id": "job-1",
        "tenant_id": "t-1",
        "extension_id": "registry-1",
        "content_hash": HASH,
        "trigger": "schedule",
    },
    "http": {"method": "POST", "path": "/run", "body_b64": base64.b64encode(b"{}").decode()},
    "limits": {"timeout_ms": 5000},
}


async def post(gateway: Gateway, headers: dict[str, str], envelope: object = ENVELOPE) -> object:
    data = orjson.dumps(envelope)
    async with gateway.client.post(
        f"{gateway.url}/v1/execute", data=data, headers=headers
    ) as answer:
        assert answer.content_type == "application/json", await answer.text()
        assert answer.status == 200
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-runner-backend"] == "docker"
        return await answer.json()


async def test_an_envelope_goes_through_and_its_answer_comes_back(
    gateway: Gateway, runner: FakeRunner
) -> None:
    runner.script.append(Envelope(status=201, headers={"x-any": "kept"}, body=b"done"))
    answer = await post(gateway, TOKEN | ROUTING | {"x-idempotency-key": "k-1"})
    assert answer == {
        "status": 201,
        "headers": {"x-any": "kept"},
        "body_b64": base64.b64encode(b"done").decode(),
        "error": None,
    }
    (call,) = runner.executed
    assert call.headers["x-idempotency-key"] == "k-1"
    assert call.headers["x-alga-tenant"] == "t-1"
    assert call.envelope["context"]["request_id"] == "job-1"
    assert call.envelope["context"]["trigger"] == "schedule"
    assert call.envelope["limits"]["timeout_ms"] == 5000


@pytest.mark.parametrize(("header", "name"), [(None, "job-1"), ("h-1", "h-1"), ("job-1", "job-1")])
async def test_a_call_has_one_name_everywhere(
    gateway: Gateway, runner: FakeRunner, header: str | None, name: str
) -> None:
    said = {} if header is None else {"x-request-id": header}
    async with gateway.client.post(
        f"{gateway.url}/v1/execute", data=orjson.dumps(ENVELOPE), headers=TOKEN | ROUTING | said
    ) as answer:
        assert answer.headers["x-request-id"] == name
    (call,) = runner.executed
    assert call.headers["x-request-id"] == name
    assert call.envelope["context"]["request_id"] == name


async def test_an_error_keeps_its_class_and_loses_its_detail(
    gateway: Gateway, runner: FakeRunner
) -> None:
    runner.script.append(Envelope(status=502, error="bundle_fetch_failed: http://s3cret"))
    answer = await post(gateway, TOKEN | ROUTING)
    assert answer == {
        "status": 502,
        "headers": {},
        "body_b64": None,
        "error": "bundle_fetch_failed",
    }


async def test_without_routing_headers_the_protocols_own_refusal_is_given(
    gateway: Gateway, runner: FakeRunner
) -> None:
    answer = await post(gateway, TOKEN)
    assert isinstance(answer, dict)
    assert (answer["status"], answer["error"]) == (400, "missing_routing_headers")
    assert not runner.executed


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "missing_service_token"),
        ({"x-runner-service-token": "wrong"}, "wrong_service_token"),
        ({"x-gateway-key": "wrong"}, "wrong_service_token"),
    ],
    ids=["no", "wrong", "key"],
)
async def test_the_token_is_asked_for(
    gateway: Gateway, headers: dict[str, str], reason: str
) -> None:
    status, problem = await gateway.problem(
        "POST", "/v1/execute", data=orjson.dumps(ENVELOPE), headers=headers | ROUTING
    )
    assert (status, problem["error"], problem["reason"]) == (401, "unauthenticated", reason)


async def test_the_gateway_key_will_do_too(runner: FakeRunner) -> None:
    key = "a-long-enough-proxy-key"
    environ = in_front_of(runner, GATEWAY_AUTH="proxy", GATEWAY_PROXY_KEY=key)
    async with running(environ) as gateway:
        await post(gateway, ROUTING | {"x-gateway-key": key})


async def test_with_nothing_configured_only_a_developers_own_machine_may(
    runner: FakeRunner,
) -> None:
    environ = in_front_of(runner)
    del environ["RUNNER_SERVICE_TOKEN"]
    async with running(environ) as gateway:
        await post(gateway, ROUTING)


@pytest.mark.parametrize(
    ("headers", "change", "field"),
    [
        ({"x-alga-tenant": "other"}, {}, "x-alga-tenant"),
        ({"x-alga-extension": "other"}, {}, "x-alga-extension"),
        ({"x-idempotency-key": "\xfc"}, {}, "x-idempotency-key"),
        ({"x-ext-config-version": "\xfc"}, {}, "x-ext-config-version"),
        ({"x-ext-secrets-version": "\xfc"}, {}, "x-ext-secrets-version"),
        ({}, {"context": {}}, "context.content_hash"),
        ({}, {"limits": {"timeout_ms": "1"}}, "limits.timeout_ms"),
    ],
    ids=[
        "another-tenant",
        "another-extension",
        "no-text-key",
        "no-text-config",
        "no-text-secrets",
        "no-context",
        "text-limit",
    ],
)
async def test_a_broken_envelope_is_refused_by_name(
    gateway: Gateway, headers: dict[str, str], change: dict[str, object], field: str
) -> None:
    status, problem = await gateway.problem(
        "POST",
        "/v1/execute",
        data=orjson.dumps(ENVELOPE | change),
        headers=TOKEN | ROUTING | headers,
    )
    assert (status, problem["error"]) == (400, "invalid_request")
    assert field in problem["detail"]


async def test_an_envelope_that_cannot_be_passed_on_is_refused(
    gateway: Gateway, runner: FakeRunner
) -> None:
    raw = orjson.dumps(ENVELOPE | {"deep": "(deep)"})
    raw = raw.replace(b'"(deep)"', b"[" * 300 + b"]" * 300)
    status, problem = await gateway.problem(
        "POST", "/v1/execute", data=raw, headers=TOKEN | ROUTING
    )
    assert (status, problem["error"]) == (400, "invalid_request")
    assert problem["reason"] == "nested_too_deeply"
    assert not runner.executed


@pytest.mark.parametrize("chunked", [False, True])
async def test_the_limit_is_the_bodys_and_not_the_envelopes(
    runner: FakeRunner, *, chunked: bool
) -> None:
    environ = in_front_of(runner, GATEWAY_MAX_BODY_BYTES="3000")
    async with running(environ) as gateway:

        async def sent(size: int) -> int:
            body = base64.b64encode(bytes(size)).decode()
            raw = orjson.dumps(ENVELOPE | {"http": {**ENVELOPE["http"], "body_b64": body}})

            async def parts() -> AsyncIterator[bytes]:
                yield raw

            async with gateway.client.post(
                f"{gateway.url}/v1/execute",
                data=parts() if chunked else BytesIO(raw),
                headers=TOKEN | ROUTING,
            ) as answer:
                return answer.status

        assert await sent(3000) == 200
        assert await sent(1_048_576) == 413


async def test_a_runner_that_fails_is_a_problem_document(
    gateway: Gateway, runner: FakeRunner
) -> None:
    runner.script.append(HttpAnswer(status=500))
    status, problem = await gateway.problem(
        "POST", "/v1/execute", data=orjson.dumps(ENVELOPE), headers=TOKEN | ROUTING
    )
    assert (status, problem["error"]) == (502, "bad_gateway")


async def test_without_a_token_a_web_page_runs_nothing(runner: FakeRunner) -> None:
    environ = in_front_of(runner)
    del environ["RUNNER_SERVICE_TOKEN"]
    async with running(environ) as gateway:
        await post(gateway, ROUTING | {"Host": "runner.example"})  # as a gateway calls it
        for headers, reason in (
            ({"Host": "evil.example", "Origin": "http://evil.example"}, "dev_host_not_loopback"),
            ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, "dev_cross_site"),
        ):
            status, problem = await gateway.problem(
                "POST", "/v1/execute", headers=ROUTING | headers, data=orjson.dumps(ENVELOPE)
            )
            assert (status, problem["error"], problem["reason"]) == (403, "forbidden", reason)
    assert len(runner.executed) == 1
