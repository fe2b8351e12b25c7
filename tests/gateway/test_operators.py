"""What orchestrators and operators ask: health, readiness, metrics, and the admin routes."""

import asyncio
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from gateway.keys import PROBER, RECEIPTS, RELOADER
from gateway.routes.table import GATEWAY_ROUTES, Route
from tests.fakes.runner import FakeRunner, HttpAnswer
from tests.gateway.harness import HASH, Gateway, KnownInstalls, in_front_of, running


async def json_of(gateway: Gateway, path: str, **kwargs: Any) -> tuple[int, Any]:
    async with gateway.client.get(gateway.url + path, **kwargs) as answer:
        return answer.status, await answer.json()


async def test_alive_and_ready_name_the_backend(gateway: Gateway) -> None:
    await gateway.app[PROBER].probe_now()
    assert (await json_of(gateway, "/healthz"))[0] == 200
    status, ready = await json_of(gateway, "/readyz")
    assert status == 200
    assert ready["ready"] is True
    assert ready["backend"] == "docker"
    assert ready["generation"] == 1


async def test_a_sick_runner_makes_us_unready_and_leaves_us_alive(runner: FakeRunner) -> None:
    runner.health = HttpAnswer(status=500)
    async with running(in_front_of(runner)) as gateway:
        await gateway.app[PROBER].probe_now()
        status, ready = await json_of(gateway, "/readyz")
        assert status == 503
        assert ready["health"] == "down"
        assert (await json_of(gateway, "/healthz"))[0] == 200
        async with gateway.client.get(f"{gateway.url}/api/ext/acme.crm/hello") as tried:
            assert tried.status == 200


async def test_metrics_count_by_route_template_and_backend(gateway: Gateway) -> None:
    for _ in range(3):
        async with gateway.client.get(f"{gateway.url}/api/ext/acme.crm/hello?q=s3cret"):
            pass
    await gateway.app[PROBER].probe_now()
    async with gateway.client.get(f"{gateway.url}/metrics") as answer:
        text = await answer.text()
    counted = [line for line in text.splitlines() if line.startswith("gateway_requests_total{")]
    assert len(counted) == 1
    assert 'backend="docker"' in counted[0]
    assert 'status="200"' in counted[0]
    assert counted[0].endswith(" 3.0")
    assert "s3cret" not in text
    assert "gateway_generation 1.0" in text
    assert 'gateway_backend_up{backend="docker"} 1.0' in text
    assert 'gateway_swaps_total{outcome="switched"} 0.0' in text
    assert re.search(r'gateway_upstream_connections\{backend="docker",state="idle"\} [12]\.0', text)
    assert 'gateway_upstream_retries_total{backend="docker"} 0.0' in text


async def test_the_admin_routes_are_open_on_loopback_without_a_token(gateway: Gateway) -> None:
    status, backend = await json_of(gateway, "/gateway/v1/backend")
    assert status == 200
    assert backend["backend"] == "docker"
    assert backend["generation"] == 1
    assert "a-service-token-for-tests" not in str(backend)


async def test_a_page_of_another_site_cannot_use_that_openness(gateway: Gateway) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        status, problem = await gateway.problem("POST", "/gateway/v1/reload", headers=headers)
        assert (status, problem["error"]) == (403, "forbidden")


@pytest.mark.parametrize("route", [one for one in GATEWAY_ROUTES if one.path != "/"])
async def test_no_route_has_a_second_spelling_that_a_proxys_rule_would_miss(
    gateway: Gateway, route: Route
) -> None:
    """A proxy that denies /gateway/ and /metrics compares what the client wrote."""
    method = "GET" if route.method == "*" else route.method
    encoded = f"/%{ord(route.path[1]):02x}{route.path[2:]}"
    url = URL(gateway.url + re.sub(r"\{\w+(:\.\*)?\}", "x", encoded), encoded=True)
    async with gateway.client.request(method, url) as answer:
        problem = await answer.json()
    assert (answer.status, problem["reason"]) == (400, "encoded_route")


async def test_a_configured_admin_token_is_asked_for(runner: FakeRunner) -> None:
    environ = in_front_of(runner, GATEWAY_ADMIN_TOKEN="an-admin-token-for-tests")
    async with running(environ) as gateway:
        path = "/gateway/v1/generations"
        status, problem = await gateway.problem("GET", path)
        assert (status, problem["error"]) == (401, "unauthenticated")
        right = {"Authorization": "Bearer an-admin-token-for-tests"}
        status, document = await json_of(gateway, path, headers=right)
        assert status == 200
        assert document["current"]["backend"] == "docker"


async def test_a_reload_that_changes_nothing_makes_no_generation(gateway: Gateway) -> None:
    async with gateway.client.post(f"{gateway.url}/gateway/v1/reload") as answer:
        assert answer.status == 200
        receipt = await answer.json()
    assert receipt["outcome"] == "unchanged"
    assert receipt["generation"] == 1


async def test_a_reload_switches_the_backend_and_says_so(gateway: Gateway) -> None:
    async with FakeRunner() as other:
        gateway.environ["RUNNER_DOCKER_HOST"] = other.url
        async with gateway.client.post(f"{gateway.url}/gateway/v1/reload") as answer:
            receipt = await answer.json()
        assert receipt["outcome"] == "switched"
        assert receipt["generation"] == 2
        assert receipt["changed"] == ["RUNNER_DOCKER_HOST"]
        assert receipt["from"] == receipt["to"] == "docker"
        async with gateway.client.get(f"{gateway.url}/api/ext/acme.crm/hello") as called:
            assert called.headers["x-runner-generation"] == "2"
        assert len(other.executed) == 1


async def test_a_plan_says_what_would_happen_and_changes_nothing(gateway: Gateway) -> None:
    async with FakeRunner() as other:
        gateway.environ["RUNNER_DOCKER_HOST"] = other.url
        async with gateway.client.post(f"{gateway.url}/gateway/v1/reload?plan=true") as answer:
            receipt = await answer.json()
    assert receipt["outcome"] == "switched"
    assert receipt["plan"] is True
    assert receipt["generation"] == 1
    assert gateway.live.slot.current.number == 1
    assert not (await json_of(gateway, "/gateway/v1/generations"))[1]["receipts"]


@pytest.mark.parametrize("query", ["?plan", "?plan=", "?plan=maybe"])
async def test_a_plan_that_is_not_understood_is_no_reload(gateway: Gateway, query: str) -> None:
    gateway.environ["GATEWAY_DRAIN_SECONDS"] = "7"
    async with gateway.client.post(f"{gateway.url}/gateway/v1/reload{query}") as answer:
        assert (answer.status, (await answer.json())["reason"]) == (400, "not_a_boolean")
    assert gateway.live.slot.current.number == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"RUNNER_DOCKER_HOST": "http://127.0.0.1:1"}, "connection_refused"),
        ({"RUNNER_BACKEND": "dokcer", "EXT_GATEWAY_TIMEOUT_MS": "x"}, "settings_invalid"),
    ],
    ids=["sick-candidate", "bad-settings"],
)
async def test_a_refused_reload_leaves_the_old_generation_serving(
    gateway: Gateway, change: dict[str, str], reason: str
) -> None:
    gateway.environ.update(change)
    async with gateway.client.post(f"{gateway.url}/gateway/v1/reload") as answer:
        assert answer.status == 409
        receipt = await answer.json()
    assert receipt["outcome"] == "refused"
    assert receipt["reason"] == reason
    assert {bad["variable"] for bad in receipt["problems"]} == (
        set(change) if reason == "settings_invalid" else set()
    )
    async with gateway.client.get(f"{gateway.url}/api/ext/acme.crm/hello") as called:
        assert called.status == 200
        assert called.headers["x-runner-generation"] == "1"


async def test_a_refusal_names_what_the_file_cannot_change(gateway: Gateway) -> None:
    gateway.environ["GATEWAY_DRAIN_SECONDS"] = "5"
    del gateway.environ["RUNNER_BACKEND"]
    written = "GATEWAY_DRAIN_SECONDS=x\nRUNNER_BACKEND=foo\n"
    await asyncio.to_thread(Path(gateway.environ["GATEWAY_ENV_FILE"]).write_text, written)
    async with gateway.client.post(f"{gateway.url}/gateway/v1/reload") as answer:
        receipt = await answer.json()
    assert receipt["outcome"] == "refused"
    assert receipt["pinned_by_environment"] == ["GATEWAY_DRAIN_SECONDS"]


async def test_what_only_a_restart_can_change_is_named(gateway: Gateway) -> None:
    gateway.environ["GATEWAY_PORT"] = "9999"
    gateway.environ["GATEWAY_MAX_BODY_BYTES"] = "100"
    async with gateway.client.post(f"{gateway.url}/gateway/v1/reload") as answer:
        receipt = await answer.json()
    assert receipt["outcome"] == "switched"
    assert receipt["restart_needed"] == ["GATEWAY_PORT"]
    assert gateway.live.settings.max_body_bytes == 100
    status, _ = await gateway.problem("POST", "/api/ext/acme.crm/echo", data=b"x" * 101)
    assert status == 413


async def test_a_slow_call_stays_on_its_generation_while_new_ones_move_on(
    gateway: Gateway, runner: FakeRunner
) -> None:
    runner.may_answer.clear()
    hello = f"{gateway.url}/api/ext/acme.crm/hello"
    slow = asyncio.create_task(gateway.client.get(hello))
    await runner.called()
    async with FakeRunner() as other:
        gateway.environ["RUNNER_DOCKER_HOST"] = other.url
        async with gateway.client.post(f"{gateway.url}/gateway/v1/reload") as answer:
            receipt = await answer.json()
        assert receipt["in_flight_at_switch"] == 1
        assert receipt["drained_ms"] is None
        async with gateway.client.get(hello) as moved_on:
            assert moved_on.headers["x-runner-generation"] == "2"
        (draining,) = (await json_of(gateway, "/gateway/v1/generations"))[1]["draining"]
        assert draining["in_flight"] == 1
        runner.may_answer.set()
        answered = await slow
        assert answered.status == 200
        assert answered.headers["x-runner-generation"] == "1"
        await asyncio.gather(
            *(task for task in asyncio.all_tasks() if task.get_name() == "drain-1")
        )
        assert not gateway.live.slot.draining
        (kept,) = (await json_of(gateway, "/gateway/v1/generations"))[1]["receipts"]
        assert kept["drained_ms"] is not None
        assert kept["cut_off"] == 0


async def test_installs_of_the_old_generation_are_closed(runner: FakeRunner) -> None:
    installs = KnownInstalls()
    async with running(in_front_of(runner), installs):
        assert not installs.closed
    assert installs.closed


async def test_the_ui_url_is_what_the_backend_says(gateway: Gateway) -> None:
    status, found = await json_of(gateway, "/gateway/v1/extensions/acme.crm/ui-url?path=/a%20b")
    assert status == 200
    assert found == {
        "url": f"/runner/ext-ui/registry-1/{HASH.replace(':', '%3A')}/index.html"
        "?path=%2Fa+b&tenant=dev&extensionId=registry-1",
        "contentHash": HASH,
        "backend": "docker",
        "generation": 1,
    }


async def test_a_reload_during_a_stop_is_refused(gateway: Gateway) -> None:
    reloader = gateway.app[RELOADER]
    await reloader.aclose()
    reloader.signalled()
    receipt = await reloader.reload()
    assert (receipt.outcome, receipt.reason) == ("refused", "stopping")
    assert len(gateway.app[RECEIPTS].newest_first()) == 1  # and the signal left none


async def test_a_reload_looks_at_no_file_on_the_loops_thread(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    monkeypatch.setattr(
        "gateway.variables.rules.client_context", lambda _: looked.append(threading.get_ident())
    )
    gateway.environ["GATEWAY_DRAIN_SECONDS"] = "7"
    async with gateway.client.post(f"{gateway.url}/gateway/v1/reload") as answer:
        assert (await answer.json())["outcome"] == "switched"
    assert len(looked) == 2  # once at the authorities, once at the certificate
    assert threading.get_ident() not in looked
