"""Swaps under load, by signal, of a real process: nothing is lost, nothing moves mid-call."""

import asyncio
import signal
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession

from gateway.installs.changes import list_installs
from tests.fakes.runner import FakeRunner
from tests.journeys.process import GatewayProcess, gateway_process

HELLO = "/api/ext/example.hello/hello"
CLIENTS = 8
SWAPS = 200


class Load:
    """Clients that call without a pause and keep account of every answer."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._enough = asyncio.Event()
        self.answers: Counter[tuple[int, str]] = Counter()  # by status and backend
        self.last_generation = 0
        self.went_back = 0  # answers of an older generation than one seen before

    async def run(self) -> None:
        async with ClientSession() as client, asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(self._call_on(client))

    def stop(self) -> None:
        self._enough.set()

    async def _call_on(self, client: ClientSession) -> None:
        seen = 0
        while not self._enough.is_set():
            async with client.get(self._url + HELLO) as answer:
                await answer.read()
            generation = int(answer.headers["x-runner-generation"])
            self.answers[answer.status, answer.headers["x-runner-backend"]] += 1
            self.went_back += generation < seen
            seen = generation
            self.last_generation = max(self.last_generation, generation)


async def test_200_swaps_under_load_lose_no_request_and_keep_slow_calls(
    tmp_path: Path, bundle_dir: Path
) -> None:
    async with FakeRunner() as slow, FakeRunner() as one, FakeRunner() as two:
        settings = {
            "RUNNER_BUNDLE_DIR": str(bundle_dir),
            "GATEWAY_DRAIN_SECONDS": "120",
            "EXT_GATEWAY_TIMEOUT_MS": "120000",
            "RUNNER_FIRST_BYTE_TIMEOUT_MS": "120000",
        }
        first = settings | {"RUNNER_BACKEND": "knative", "RUNNER_BASE_URL": slow.url}
        async with (
            gateway_process(tmp_path, environ={}, env_file=first) as gateway,
            ClientSession() as client,
        ):
            await gateway.event("backend_probed")
            slow.may_answer.clear()
            kept = asyncio.create_task(client.get(gateway.url + HELLO))
            await slow.called()

            await _swap(gateway, settings, 0, one, two)
            load = Load(gateway.url)
            calling = asyncio.create_task(load.run())
            try:
                for swap in range(1, SWAPS):
                    await _swap(gateway, settings, swap, one, two)
            finally:
                load.stop()
                await calling

            slow.may_answer.set()
            answered = await kept
            assert answered.status == 200
            assert answered.headers["x-runner-generation"] == "1"

    assert {status for status, _ in load.answers} == {200}
    assert set(load.answers) == {(200, "docker"), (200, "knative")}
    assert load.went_back == 0
    assert load.last_generation >= SWAPS
    assert sum(len(runner.executed) for runner in (slow, one, two)) == load.answers.total() + 1


async def _swap(
    gateway: GatewayProcess, settings: dict[str, str], swap: int, one: FakeRunner, two: FakeRunner
) -> None:
    """Swap to and fro, between the kinds too, and wait until it is done."""
    if swap % 2:
        asked = {"RUNNER_BACKEND": "knative", "RUNNER_BASE_URL": two.url}
    else:
        asked = {"RUNNER_BACKEND": "docker", "RUNNER_DOCKER_HOST": one.url}
    gateway.write_env(**settings, **asked)
    gateway.send(signal.SIGHUP)
    receipt = await gateway.event("backend_swapped", generation=swap + 2)
    assert receipt["to"] == asked["RUNNER_BACKEND"]


async def test_the_embedded_backend_swaps_with_another_process_and_answers_alike(
    tmp_path: Path, bundle_dir: Path
) -> None:
    settings = {"RUNNER_BUNDLE_DIR": str(bundle_dir), "RUNNER_SERVICE_TOKEN": "shared-by-both-1"}
    (tmp_path / "runner").mkdir()
    async with (
        gateway_process(
            tmp_path / "runner", "runner", "--port", "0", environ={}, env_file=settings
        ) as runner,
        gateway_process(tmp_path, environ={}, env_file=settings) as gateway,
        ClientSession() as client,
    ):
        told = {}
        for generation, backend in enumerate(("embedded", "docker", "knative", "embedded"), 2):
            gateway.write_env(
                RUNNER_BACKEND=backend,
                RUNNER_DOCKER_HOST=runner.url,
                RUNNER_BASE_URL=runner.url,
                **settings,
            )
            gateway.send(signal.SIGHUP)
            await gateway.event("backend_swapped", to=backend, generation=generation)
            async with client.get(gateway.url + HELLO, headers={"x-request-id": "r"}) as answer:
                assert answer.status == 200
                assert answer.headers["x-runner-backend"] == backend
                told[backend] = await answer.read(), _comparable(dict(answer.headers))
        assert told["docker"] == told["embedded"] == told["knative"]


def _comparable(headers: dict[str, str]) -> dict[str, str]:
    own = {"x-runner-backend", "x-runner-generation", "date"}
    return {name.lower(): value for name, value in headers.items() if name.lower() not in own}


async def test_signals_that_come_together_are_one_reload(tmp_path: Path, bundle_dir: Path) -> None:
    settings = {"RUNNER_BUNDLE_DIR": str(bundle_dir)}
    async with (
        FakeRunner() as runner,
        gateway_process(tmp_path, environ={}, env_file=settings) as gateway,
    ):
        gateway.write_env(**settings, RUNNER_BASE_URL=runner.url)
        for _ in range(20):
            gateway.send(signal.SIGHUP)
        await gateway.event("backend_swapped")
        gateway.send(signal.SIGTERM)
        assert await gateway.exit_status() == 0
        swaps = [line for line in gateway.lines if line["event"] == "backend_swapped"]
        reloads = [line for line in gateway.lines if line["event"] == "reload_unchanged"]
        assert len(swaps) == 1
        assert len(reloads) <= 2


async def test_a_reload_that_is_refused_says_why_and_can_be_mended(
    tmp_path: Path, bundle_dir: Path
) -> None:
    settings = {"RUNNER_BUNDLE_DIR": str(bundle_dir)}
    async with (
        FakeRunner() as runner,
        gateway_process(
            tmp_path, environ={"GATEWAY_LOG_LEVEL": "debug"}, env_file=settings
        ) as gateway,
        ClientSession() as client,
    ):
        gateway.write_env(
            **settings,
            RUNNER_BACKEND="dokcer",
            EXT_GATEWAY_TIMEOUT_MS="soon",
            GATEWAY_LOG_LEVEL="warning",
        )
        gateway.send(signal.SIGHUP)
        refused = await gateway.event("reload_refused", level="warning")
        assert refused["pinned_by_environment"] == ["GATEWAY_LOG_LEVEL"]
        named = {problem["variable"] for problem in refused["problems"]}
        assert named == {"RUNNER_BACKEND", "EXT_GATEWAY_TIMEOUT_MS"}
        async with client.get(gateway.url + HELLO) as answer:
            assert answer.status == 200
            assert answer.headers["x-runner-backend"] == "embedded"

        gateway.write_env(**settings, RUNNER_BASE_URL=runner.url, GATEWAY_LOG_LEVEL="warning")
        gateway.send(signal.SIGHUP)
        swapped = await gateway.event("backend_swapped")
        assert swapped["pinned_by_environment"] == ["GATEWAY_LOG_LEVEL"]
        assert (swapped["from"], swapped["to"]) == ("embedded", "knative")


async def test_a_runner_serves_every_tenants_ui_files(tmp_path: Path, bundle_dir: Path) -> None:
    settings = {"RUNNER_BUNDLE_DIR": str(bundle_dir), "RUNNER_SERVICE_TOKEN": "shared-by-both-1"}
    content_hash = list_installs(bundle_dir)[0].content_hash
    async with (
        gateway_process(tmp_path, "runner", "--port", "0", environ={}, env_file=settings) as runner,
        ClientSession() as client,
    ):
        page = f"{runner.url}/ext-ui/any/{content_hash}/index.html"
        for said in ({"x-tenant-id": "one"}, {"x-tenant-id": "two"}, {}):
            async with client.get(page, headers=said) as answer:
                assert answer.status == 200
        async with client.get(f"{page}?tenant=three") as answer:
            assert answer.status == 200


async def test_a_stop_waits_as_long_as_the_last_reload_said(
    tmp_path: Path, bundle_dir: Path
) -> None:
    async with FakeRunner() as runner:
        settings = {"RUNNER_BUNDLE_DIR": str(bundle_dir), "RUNNER_BASE_URL": runner.url}
        long = {**settings, "GATEWAY_DRAIN_SECONDS": "120"}
        async with (
            gateway_process(tmp_path, environ={}, env_file=long) as gateway,
            ClientSession() as client,
        ):
            gateway.write_env(**settings, GATEWAY_DRAIN_SECONDS="0")
            gateway.send(signal.SIGHUP)
            await gateway.event("backend_swapped")
            runner.may_answer.clear()
            running = asyncio.create_task(client.get(gateway.url + HELLO))
            await runner.called()
            gateway.send(signal.SIGTERM)
            assert await gateway.exit_status() == 0
            with pytest.raises(ClientError):
                await running
            runner.may_answer.set()
