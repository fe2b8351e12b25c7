"""`/api/ext`: what a caller asks, what the runner hears, and what the caller is told."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import ClientTimeout
from yarl import URL

from tests.fakes.runner import Envelope, FakeRunner
from tests.gateway.harness import HASH, Gateway, in_front_of, running

HELLO = "/api/ext/acme.crm/hello"
ECHO = "/api/ext/acme.crm/echo"


async def test_a_guests_answer_reaches_the_caller(gateway: Gateway, runner: FakeRunner) -> None:
    runner.script.append(
        Envelope(
            status=201,
            headers={"Content-Type": "text/plain", "ETag": '"1"', "X-Ext-Note": "n", "Server": "s"},
            body=b"made",
        )
    )
    async with gateway.client.get(gateway.url + HELLO) as answer:
        assert answer.status == 201
        assert await answer.read() == b"made"
        assert answer.content_type == "text/plain"
        assert answer.headers["etag"] == '"1"'
        assert answer.headers["x-ext-note"] == "n"
        assert "server" not in answer.headers


async def test_every_answer_names_itself_and_the_backend(gateway: Gateway) -> None:
    for path in (HELLO, "/api/ext/nobody/x", "/nowhere", "/healthz"):
        headers = {"x-request-id": "r-7"}
        async with gateway.client.get(gateway.url + path, headers=headers) as answer:
            assert answer.headers["x-request-id"] == "r-7"
            assert answer.headers["x-runner-backend"] == "docker"
            assert answer.headers["x-runner-generation"] == "1"
            assert answer.headers["x-content-type-options"] == "nosniff"


async def test_the_runner_hears_who_is_asking(gateway: Gateway, runner: FakeRunner) -> None:
    sent = {
        "x-request-id": "r-1",
        "accept": "a/b",
        "cookie": "session=secret",
        "authorization": "Bearer secret",
        "x-api-key": "secret",
        "x-ext-install-id": "forged",
        "x_alga_extension": "forged",
        "k-network-probe": "probe",
        "x-forwarded-for": "9.9.9.9",
    }
    url = f"{gateway.url}{HELLO}?a=1&b=x+y&a=2"
    async with gateway.client.get(url, headers=sent) as answer:
        assert answer.status == 200
    (call,) = runner.executed
    assert call.headers["x-runner-service-token"] == "a-service-token-for-tests"
    assert call.headers["x-alga-tenant"] == "dev"
    assert call.headers["x-alga-extension"] == "registry-1"
    assert call.headers["x-ext-install-id"] == "install-1"
    assert call.headers["x-ext-config-version"] == "c1"
    assert "x-idempotency-key" not in call.headers
    envelope = call.envelope
    assert envelope["context"] == {
        "request_id": "r-1",
        "tenant_id": "dev",
        "extension_id": "registry-1",
        "install_id": "install-1",
        "version_id": "version-1",
        "content_hash": HASH,
        "config": {"plan": "gold"},
    }
    assert envelope["http"]["method"] == "GET"
    assert envelope["http"]["path"] == "/hello"
    assert envelope["http"]["query"] == {"a": "2", "b": "x y"}
    assert envelope["http"]["body_b64"] is None
    assert envelope["http"]["headers"]["accept"] == "a/b"
    assert envelope["http"]["headers"]["x-alga-tenant"] == "dev"
    assert envelope["limits"] == {"timeout_ms": 29_000}
    assert envelope["providers"] == ["cap:log.emit"]
    assert b"secret" not in call.body
    assert b"forged" not in call.body
    assert not {"cookie", "authorization", "x-api-key", "k-network-probe"} & set(call.headers)


async def test_a_post_carries_its_body_and_an_idempotency_key(
    gateway: Gateway, runner: FakeRunner
) -> None:
    async with gateway.client.post(gateway.url + ECHO, data=b"\x00\xff") as answer:
        assert answer.status == 200
    own = {"x-idempotency-key": "mine"}
    async with gateway.client.post(gateway.url + ECHO, headers=own) as answer:
        assert answer.status == 200
    first, second = runner.executed
    assert first.guest_body == b"\x00\xff"
    assert len(first.headers["x-idempotency-key"]) == 36
    assert second.guest_body == b""
    assert second.headers["x-idempotency-key"] == "mine"
    assert second.envelope["http"]["headers"]["x-idempotency-key"] == "mine"


async def test_head_asks_like_get_and_answers_without_a_body(
    gateway: Gateway, runner: FakeRunner
) -> None:
    async with gateway.client.head(gateway.url + HELLO) as answer:
        assert answer.status == 200
        assert int(answer.headers["content-length"]) > 0
        assert await answer.read() == b""
    (call,) = runner.executed
    assert call.envelope["http"]["method"] == "HEAD"
    assert call.guest_body is None
    assert "x-idempotency-key" not in call.headers


async def test_the_alias_is_the_same_route(gateway: Gateway, runner: FakeRunner) -> None:
    async with gateway.client.get(f"{gateway.url}/api/ext-proxy/acme.crm/items/a%20b") as answer:
        assert answer.status == 200
    assert runner.executed[0].envelope["http"]["path"] == "/items/a b"


async def test_a_method_override_decides_what_is_authorised(
    gateway: Gateway, runner: FakeRunner
) -> None:
    url = f"{gateway.url}/api/ext/acme.crm/items/1"
    async with gateway.client.post(f"{url}?__method=delete&x=1", data=b"{}") as answer:
        assert answer.status == 200
    async with gateway.client.post(url, json={"__method": "DELETE", "why": "old"}) as answer:
        assert answer.status == 200
    in_query, in_body = runner.executed
    assert in_query.envelope["http"]["method"] == "DELETE"
    assert in_query.envelope["http"]["query"] == {"x": "1"}
    assert in_body.envelope["http"]["method"] == "DELETE"
    assert in_body.guest_body == b'{"why":"old"}'
    status, problem = await gateway.problem(
        "POST", "/api/ext/acme.crm/items/1", json={"__method": "PUT"}
    )
    assert (status, problem["error"]) == (405, "method_not_allowed")


async def test_an_undeclared_endpoint_never_reaches_the_runner(
    gateway: Gateway, runner: FakeRunner
) -> None:
    status, problem = await gateway.problem("GET", "/api/ext/acme.crm/nothing")
    assert (status, problem["error"]) == (404, "endpoint_not_declared")
    assert "GET /hello" in problem["declared"]
    async with gateway.client.post(gateway.url + HELLO) as answer:
        assert answer.status == 405
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert not runner.executed


async def test_a_plain_options_says_what_may_be_asked(gateway: Gateway) -> None:
    async with gateway.client.options(f"{gateway.url}/api/ext/acme.crm/items/1") as answer:
        assert answer.status == 204
        assert answer.headers["allow"] == "DELETE, GET, HEAD, OPTIONS"


async def test_an_unknown_extension_is_not_installed(gateway: Gateway) -> None:
    status, problem = await gateway.problem("GET", "/api/ext/nobody/x")
    assert (status, problem["error"]) == (404, "extension_not_installed")


@pytest.mark.parametrize("path", ["/a/../b", "/a/%2e%2e/b", "/a%2Fb", "/a%5Cb", "/a%00", "/%zz"])
async def test_a_path_with_two_readings_is_refused(gateway: Gateway, path: str) -> None:
    url = URL(f"{gateway.url}/api/ext/acme.crm{path}", encoded=True)
    async with gateway.client.get(url) as answer:
        assert answer.status == 400
        assert (await answer.json(content_type=None))["error"] == "invalid_path"


async def test_without_a_runner_and_an_engine_to_find_one_the_way_out_is_named(
    tmp_path: Path,
) -> None:
    told = {"RUNNER_BACKEND": "docker", "DOCKER_CONTEXT": "x", "DOCKER_CONFIG": str(tmp_path)}
    async with running(told) as gateway:
        status, problem = await gateway.problem("GET", HELLO)
        async with gateway.client.get(f"{gateway.url}/readyz") as answer:
            assert (await answer.json())["detail"] == problem["reason"] == "context_not_found"
    assert (status, problem["error"], problem["phase"]) == (500, "runner_not_configured", "admit")
    assert problem["retryable"] is False
    assert "RUNNER_DOCKER_HOST" in problem["detail"]
    assert str(tmp_path) not in str(problem)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("a%3Fadmin=1", "encoded_query_or_fragment"),
        ("a%23b", "encoded_query_or_fragment"),
        ("a%0Ab", "unprintable_character"),
    ],
)
async def test_a_value_in_the_path_cannot_become_a_query(
    gateway: Gateway, runner: FakeRunner, value: str, reason: str
) -> None:
    url = URL(f"{gateway.url}/api/ext/acme.crm/items/{value}", encoded=True)
    async with gateway.client.get(url) as answer:
        problem = await answer.json(content_type=None)
    assert (problem["error"], problem["reason"]) == ("invalid_path", reason)
    assert not runner.executed


async def test_the_path_reaches_the_runner_decoded_exactly_once(
    gateway: Gateway, runner: FakeRunner
) -> None:
    url = URL(f"{gateway.url}/api/ext/acme.crm/items/%2541%20%26=?b=%20+&c", encoded=True)
    async with gateway.client.get(url) as answer:
        assert answer.status == 200
    asked = runner.executed[0].envelope["http"]
    assert asked["path"] == "/items/%41 &="
    assert asked["query"] == {"b": "  ", "c": ""}


async def test_a_handlers_answer_is_kept_by_nobody_unless_it_says_so(
    gateway: Gateway, runner: FakeRunner
) -> None:
    runner.script.extend(
        [
            Envelope(body=b"{}"),
            Envelope(headers={"cache-control": "private, max-age=5"}, body=b"{}"),
            Envelope(status=500, headers={"cache-control": "public"}),
        ]
    )
    said = []
    for _ in range(3):
        async with gateway.client.get(gateway.url + HELLO) as answer:
            said.append(answer.headers["cache-control"])
    assert said == ["no-store", "private, max-age=5", "no-store"]


async def test_a_cache_in_front_may_not_give_one_tenants_answer_to_another(
    gateway: Gateway, runner: FakeRunner
) -> None:
    runner.script.append(Envelope(headers={"cache-control": "max-age=60"}, body=b"{}"))
    async with gateway.client.get(gateway.url + HELLO) as answer:
        assert answer.headers["cache-control"] == "private, max-age=60"


async def test_a_body_over_the_limit_is_refused_unread(runner: FakeRunner) -> None:
    async with running(in_front_of(runner, GATEWAY_MAX_BODY_BYTES="1024")) as gateway:
        status, problem = await gateway.problem("POST", ECHO, data=b"x" * 1025)
        assert (status, problem["error"]) == (413, "payload_too_large")
        async with gateway.client.post(gateway.url + ECHO, data=b"x" * 1024) as answer:
            assert answer.status == 200
    assert len(runner.executed) == 1


async def test_a_caller_that_leaves_takes_its_call_along(
    gateway: Gateway, runner: FakeRunner
) -> None:
    runner.may_answer.clear()
    call = asyncio.create_task(gateway.client.get(gateway.url + HELLO))
    await runner.called()
    call.cancel()
    async with asyncio.timeout(5):
        await runner.abandoned.wait()


async def test_the_proxys_key_tenant_and_user_are_believed(runner: FakeRunner) -> None:
    import base64

    user = b'{"user_id":"u","user_email":"e","user_name":"n","user_type":"msp"}'
    key = {"x-gateway-key": "a-long-enough-proxy-key"}
    environ = in_front_of(runner, GATEWAY_AUTH="proxy", GATEWAY_PROXY_KEY="a-long-enough-proxy-key")
    async with running(environ) as gateway:
        status, problem = await gateway.problem("GET", HELLO)
        assert (status, problem["error"]) == (401, "unauthenticated")
        wrong = {"x-gateway-key": "b-long-enough-proxy-key", "x-alga-tenant": "t-1"}
        status, problem = await gateway.problem("GET", HELLO, headers=wrong)
        assert (status, problem["error"]) == (401, "unauthenticated")
        mixed = key | {"x-alga-tenant": "t-1", "x-tenant-id": "t-2"}
        status, problem = await gateway.problem("GET", HELLO, headers=mixed)
        assert (status, problem["error"]) == (403, "tenant_mismatch")
        right = key | {
            "x-alga-tenant": "t-1",
            "x-gateway-user": base64.urlsafe_b64encode(user).decode().rstrip("="),
        }
        async with gateway.client.get(gateway.url + HELLO, headers=right) as answer:
            assert answer.status == 200
    (call,) = runner.executed
    assert call.headers["x-alga-tenant"] == "t-1"
    assert call.envelope["user"]["user_id"] == "u"
    assert "a-long-enough-proxy-key" not in str(call)


async def test_among_tenants_a_runner_hears_whose_idempotency_key_it_is(
    runner: FakeRunner,
) -> None:
    environ = in_front_of(runner, GATEWAY_AUTH="proxy", GATEWAY_PROXY_KEY="a-long-enough-proxy-key")
    own = {"x-gateway-key": "a-long-enough-proxy-key", "x-idempotency-key": "order-1"}
    async with running(environ) as gateway:
        for tenant in ("t-1", "t-1", "t-2"):
            headers = own | {"x-alga-tenant": tenant}
            async with gateway.client.post(gateway.url + ECHO, headers=headers) as answer:
                assert answer.status == 200
    first, again, other_tenant = (call.headers["x-idempotency-key"] for call in runner.executed)
    assert first == again != other_tenant
    said = {call.envelope["http"]["headers"]["x-idempotency-key"] for call in runner.executed}
    assert said == {"order-1"}


async def test_in_dev_mode_no_other_tenant_can_be_named(gateway: Gateway) -> None:
    status, problem = await gateway.problem("GET", HELLO, headers={"x-alga-tenant": "other"})
    assert (status, problem["error"]) == (403, "tenant_mismatch")


async def test_a_listed_origin_may_read_and_another_may_not(runner: FakeRunner) -> None:
    environ = in_front_of(runner, EXT_GATEWAY_ALLOWED_ORIGINS="https://app.example")
    asked = {"Access-Control-Request-Method": "POST"}
    async with running(environ) as gateway:
        for origin, allowed in (("https://app.example", True), ("https://evil.example", False)):
            headers = {"Origin": origin}
            async with gateway.client.options(
                gateway.url + ECHO, headers=headers | asked
            ) as preflight:
                assert preflight.status == 204
                assert ("access-control-allow-origin" in preflight.headers) is allowed
            async with gateway.client.get(gateway.url + HELLO, headers=headers) as answer:
                assert ("access-control-allow-origin" in answer.headers) is allowed
                assert "Origin" in answer.headers["vary"]


async def test_past_the_limit_of_running_requests_a_caller_is_told_to_come_back(
    runner: FakeRunner,
) -> None:
    runner.may_answer.clear()
    async with running(in_front_of(runner, GATEWAY_MAX_IN_FLIGHT="1")) as gateway:
        first = asyncio.create_task(gateway.client.get(gateway.url + HELLO))
        await runner.called()
        status, problem = await gateway.problem("GET", HELLO)
        assert (status, problem["error"]) == (503, "runner_overloaded")
        async with gateway.client.get(
            f"{gateway.url}/healthz", timeout=ClientTimeout(total=5)
        ) as answer:
            assert answer.status == 200
        runner.may_answer.set()
        assert (await first).status == 200
