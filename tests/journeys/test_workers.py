"""Several workers on one port: they serve, switch, die and are replaced as one gateway."""

import asyncio
import json
import os
import re
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, TCPConnector
from yarl import URL

from gateway.certificates import make_certificates
from tests.fakes.identity_provider import AUDIENCE, ISSUER, IdentityProvider
from tests.fakes.runner import FakeRunner, HttpAnswer
from tests.journeys.load import HELLO, load_on
from tests.journeys.process import GatewayProcess, gateway_process

TWO = {"GATEWAY_WORKERS": "2", "GATEWAY_PROBE_INTERVAL_MS": "100"}


@asynccontextmanager
async def two_workers(
    folder: Path, bundle_dir: Path, runner: FakeRunner, **more: str
) -> AsyncIterator[GatewayProcess]:
    """A gateway of two workers in front of `runner`, both of them ready."""
    env_file = _settings(bundle_dir, runner) | more
    async with gateway_process(folder, environ=TWO, env_file=env_file) as gateway:
        for worker in range(2):
            await gateway.event("worker_started", worker=worker)
            await gateway.event("backend_probed", worker=worker, readiness="ready")
        yield gateway


def _settings(bundle_dir: Path, runner: FakeRunner) -> dict[str, str]:
    return {"RUNNER_BUNDLE_DIR": str(bundle_dir), "RUNNER_BASE_URL": runner.url}


@asynccontextmanager
async def no_keep_alive() -> AsyncIterator[ClientSession]:
    """A client whose every call may reach another worker."""
    async with ClientSession(connector=TCPConnector(force_close=True)) as client:
        yield client


async def _json(client: ClientSession, url: str, method: str = "GET") -> dict[str, Any]:
    async with client.request(method, url) as answer:
        document: dict[str, Any] = await answer.json(content_type=None)
        return document


async def _pids(client: ClientSession, gateway: GatewayProcess) -> dict[int, int | None]:
    """The workers' process ids, as /readyz tells them."""
    document = await _json(client, f"{gateway.url}/readyz")
    return {each["worker"]: each["pid"] for each in document["workers"]}


async def _counted(client: ClientSession, gateway: GatewayProcess) -> float:
    """How many handler calls /metrics says there were."""
    async with client.get(f"{gateway.url}/metrics") as answer:
        text = await answer.text()
    found = re.findall(r'^gateway_requests_total\{.*route="/api/ext/.*\} (\S+)$', text, re.M)
    return sum(map(float, found))


async def _until_both_answered(gateway: GatewayProcess, client: ClientSession, path: str) -> None:
    """Call until both workers have answered on `path`."""
    async with asyncio.timeout(30):
        seen: set[int] = set()
        while seen != {0, 1}:
            request_id = os.urandom(8).hex()
            url = URL(gateway.url + path, encoded=True)
            async with client.get(url, headers={"x-request-id": request_id}):
                pass
            line = await gateway.event("request_answered", request_id=request_id)
            seen.add(line["worker"])


async def test_two_workers_serve_and_speak_as_one(tmp_path: Path, bundle_dir: Path) -> None:
    async with (
        FakeRunner() as runner,
        two_workers(tmp_path, bundle_dir, runner) as gateway,
        no_keep_alive() as client,
    ):
        assert gateway.output.count(b"Extension gateway on") == 1
        await _until_both_answered(gateway, client, HELLO)
        pids = await _pids(client, gateway)
        assert set(pids) == {0, 1}
        assert len(set(pids.values())) == 2

        calls = len(runner.executed)
        for _ in range(4):  # whichever worker is asked
            assert await _counted(client, gateway) == calls
        # The console counts whole seconds, so the last calls take one to arrive.
        async with asyncio.timeout(30):
            while True:
                shown = await _json(client, f"{gateway.url}/gateway/v1/console/snapshot")
                if shown["traffic"]["total"]["requests"] >= calls:
                    break
                # Each look is a line itself, and the log kept for readers is bounded.
                await asyncio.sleep(0.2)
        assert [each["answered"] for each in shown["workers"]] == [True, True]
        assert shown["in_flight"]["limit"] == 1024
        assert {line["route"] for line in shown["lines"]} >= {"/api/ext/{extension}/{path}"}
        backend = await _json(client, f"{gateway.url}/gateway/v1/backend")
        assert [each["worker"] for each in backend["workers"]] == [0, 1]

        request_id = runner.executed[0].headers["x-request-id"]
        found = await _json(
            client, f"{gateway.url}/gateway/v1/console/lines?request_id={request_id}"
        )
        assert len(found["lines"]) == 1
        async with client.get(f"{gateway.url}/gateway/v1/logs?follow=false&tail=1000") as answer:
            told = await answer.text()
        assert '\\"worker_started\\",\\"worker\\":0' in told
        assert '\\"worker_started\\",\\"worker\\":1' in told
        assert '\\"workers\\":2' in told  # the supervisor's own


async def test_every_worker_knows_the_tenant_of_a_sandboxed_page(
    tmp_path: Path, bundle_dir: Path
) -> None:
    key = "a-long-enough-proxy-key"
    proxy = {"GATEWAY_AUTH": "proxy", "GATEWAY_PROXY_KEY": key, "EXT_UI_SANDBOX": "true"}
    headers = {"x-gateway-key": key, "x-alga-tenant": "dev"}
    async with (
        FakeRunner() as runner,
        two_workers(tmp_path, bundle_dir, runner, **proxy) as gateway,
        no_keep_alive() as client,
    ):
        resolve = f"{gateway.url}/gateway/v1/extensions/example.hello/ui-url"
        async with client.get(resolve, headers=headers) as answer:
            page = URL(gateway.url + (await answer.json())["url"], encoded=True)
        async with client.get(page) as answer:
            assert answer.status == 200
        await _until_both_answered(gateway, client, page.raw_path.replace("index.html", "app.js"))
    assert len(runner.assets) >= 2
    assert {asked.headers.get("x-tenant-id") for asked in runner.assets} == {"dev"}


async def test_a_killed_worker_is_replaced_and_nobody_is_refused(
    tmp_path: Path, bundle_dir: Path
) -> None:
    async with (
        FakeRunner() as runner,
        two_workers(tmp_path, bundle_dir, runner) as gateway,
        no_keep_alive() as client,
        load_on(gateway.url) as load,
    ):
        await load.more(300)
        before = await _counted(client, gateway)
        victim = (await _pids(client, gateway))[0]
        assert victim
        os.kill(victim, signal.SIGKILL)
        lost = await gateway.event("worker_lost", worker=0, pid=victim, status=-signal.SIGKILL)
        after = await _counted(client, gateway)
        assert after >= before
        pid = lost["pid"]
        async with asyncio.timeout(30):
            while pid in {None, victim}:
                pid = (await _pids(client, gateway))[0]
        await load.more(300)
        assert await _counted(client, gateway) >= after + 300
        async with client.get(f"{gateway.url}/metrics") as answer:
            assert "gateway_worker_restarts_total 1.0" in await answer.text()
    assert set(load.answers) == {200}
    # What ran in the killed worker is lost; no new connection was.
    assert set(load.failures) <= {"ServerDisconnectedError", "ClientOSError"}
    assert load.failures.total() <= 8


async def test_a_worker_that_is_told_to_stop_is_replaced_without_a_failed_call(
    tmp_path: Path, bundle_dir: Path
) -> None:
    async with (
        FakeRunner() as runner,
        two_workers(tmp_path, bundle_dir, runner) as gateway,
        no_keep_alive() as client,
        load_on(gateway.url) as load,
    ):
        await load.more(200)
        for place in range(2):
            pid = (await _pids(client, gateway))[place]
            assert pid
            os.kill(pid, signal.SIGTERM)
            await gateway.event("worker_leaving", pid=pid)
            async with asyncio.timeout(30):
                while (await _pids(client, gateway))[place] in {None, pid}:
                    pass
            await load.more(200)
    assert not load.failures
    assert set(load.answers) == {200}


async def test_a_reload_under_load_reaches_every_worker_before_its_receipt(
    tmp_path: Path, bundle_dir: Path
) -> None:
    async with (
        FakeRunner() as one,
        FakeRunner() as two,
        two_workers(tmp_path, bundle_dir, one) as gateway,
        load_on(gateway.url) as load,
    ):
        for generation in range(2, 12):
            await load.more(50)
            gateway.write_env(**_settings(bundle_dir, two if generation % 2 == 0 else one))
            gateway.send(signal.SIGHUP)
            receipt = await gateway.event("backend_swapped", generation=generation)
            assert receipt["in_flight_at_switch"] is not None
            # Answers that began before the receipt may still arrive.
            await load.more(16)
            load.generations.clear()
            await load.more(50)
            assert set(load.generations) == {generation}
        receipts = [line for line in gateway.lines if line["event"] == "backend_swapped"]
        assert [line["generation"] for line in receipts] == list(range(2, 12))
    assert not load.failures
    assert set(load.answers) == {200}


async def test_when_one_worker_cannot_switch_nobody_does(tmp_path: Path, bundle_dir: Path) -> None:
    async with (
        FakeRunner() as well,
        FakeRunner() as sick,
        two_workers(tmp_path, bundle_dir, well) as gateway,
        no_keep_alive() as client,
    ):
        sick.health_script.append(sick.health)  # for whoever asks first
        sick.health = HttpAnswer(status=503)
        gateway.write_env(**_settings(bundle_dir, sick))
        gateway.send(signal.SIGHUP)
        refused = await gateway.event("reload_refused")
        assert refused["generation"] == 1
        assert refused["reason"] == (await gateway.event("worker_refused"))["reason"]
        assert len([line for line in gateway.lines if line["event"] == "worker_refused"]) == 1
        await _until_both_answered(gateway, client, HELLO)
        assert not sick.executed
        told = await _json(client, f"{gateway.url}/gateway/v1/generations")
        assert [receipt["outcome"] for receipt in told["receipts"]] == ["refused"]
        assert told["current"]["generation"] == 1


async def test_a_worker_that_dies_in_the_middle_of_a_reload_ends_it(
    tmp_path: Path, bundle_dir: Path
) -> None:
    async with (
        FakeRunner() as old,
        FakeRunner() as new,
        two_workers(tmp_path, bundle_dir, old) as gateway,
        no_keep_alive() as client,
    ):
        victim = (await _pids(client, gateway))[1]
        assert victim
        new.may_answer.clear()
        gateway.write_env(**_settings(bundle_dir, new))
        gateway.send(signal.SIGHUP)
        for _ in range(2):  # both workers wait for their probe
            await new.asked.get()
        os.kill(victim, signal.SIGKILL)
        await gateway.event("worker_lost", pid=victim)
        new.may_answer.set()
        refused = await gateway.event("reload_refused")
        assert refused["reason"] == "worker_lost"
        # The env file says something else by now; what counts is what was committed.
        async with asyncio.timeout(30):
            while (await _pids(client, gateway))[1] in {None, victim}:
                pass
        await _until_both_answered(gateway, client, HELLO)
        assert not new.executed

        receipt = await _json(client, f"{gateway.url}/gateway/v1/reload", "POST")
        assert (receipt["outcome"], receipt["generation"]) == ("switched", 2)


async def test_an_admin_reloads_all_workers_through_any_of_them(
    tmp_path: Path, bundle_dir: Path
) -> None:
    async with (
        FakeRunner() as one,
        FakeRunner() as two,
        two_workers(tmp_path, bundle_dir, one) as gateway,
        no_keep_alive() as client,
    ):
        reload = f"{gateway.url}/gateway/v1/reload"
        for generation in range(2, 8):
            gateway.write_env(**_settings(bundle_dir, two if generation % 2 == 0 else one))
            planned = await _json(client, f"{reload}?plan=true", "POST")
            assert (planned["outcome"], planned["plan"]) == ("switched", True)
            assert planned["generation"] == generation - 1
            receipt = await _json(client, reload, "POST")
            assert (receipt["outcome"], receipt["generation"]) == ("switched", generation)
            assert receipt["changed"] == ["RUNNER_BASE_URL"]
        await _until_both_answered(gateway, client, HELLO)
        asked = {
            line["worker"]
            for line in gateway.lines
            if line["event"] == "request_answered" and line["route"] == "/gateway/v1/reload"
        }
        assert asked == {0, 1}
        for _ in range(4):
            async with asyncio.timeout(10):
                while True:
                    told = await _json(client, f"{gateway.url}/gateway/v1/generations")
                    if all(receipt["drained_ms"] is not None for receipt in told["receipts"]):
                        break
            assert [each["generation"] for each in told["receipts"]] == [7, 6, 5, 4, 3, 2]


async def test_a_worker_that_is_started_later_begins_with_what_was_committed(
    tmp_path: Path, bundle_dir: Path
) -> None:
    async with (
        FakeRunner() as one,
        FakeRunner() as two,
        two_workers(tmp_path, bundle_dir, one) as gateway,
        no_keep_alive() as client,
    ):
        gateway.write_env(**_settings(bundle_dir, two))
        gateway.send(signal.SIGHUP)
        await gateway.event("backend_swapped", generation=2)
        gateway.write_env(RUNNER_BACKEND="dokcer")
        gateway.send(signal.SIGHUP)
        await gateway.event("reload_refused")
        victim = (await _pids(client, gateway))[0]
        assert victim
        os.kill(victim, signal.SIGKILL)
        await gateway.event("worker_started", worker=0, generation=2)
        await _until_both_answered(gateway, client, HELLO)
        assert not one.executed
        told = await _json(client, f"{gateway.url}/gateway/v1/generations")
        assert [each["outcome"] for each in told["receipts"]] == ["refused", "switched"]


async def test_a_place_that_cannot_be_filled_is_served_by_the_others(tmp_path: Path) -> None:
    tls = await asyncio.to_thread(make_certificates, tmp_path / "tls")
    environ = TWO | {"GATEWAY_TLS_CERT": str(tls.server), "GATEWAY_TLS_KEY": str(tls.server_key)}
    trusted = ssl.create_default_context(cafile=tls.authority)
    async with (
        gateway_process(
            tmp_path, environ=environ, env_file={"RUNNER_BUNDLE_DIR": "bundles"}
        ) as gateway,
        ClientSession(connector=TCPConnector(force_close=True, ssl=trusted)) as client,
    ):
        victim = (await _pids(client, gateway))[1]
        assert victim
        await asyncio.to_thread(
            tls.server_key.write_text, "no key"
        )  # whoever is started from now on cannot serve
        os.kill(victim, signal.SIGKILL)
        await gateway.event("worker_not_started", worker=1)
        for _ in range(40):  # half of them arrive at the socket of the empty place
            async with (
                asyncio.timeout(10),
                client.get(f"{gateway.url}/readyz") as answer,
            ):
                assert answer.status == 200
                workers = (await answer.json())["workers"]
            assert [each["answered"] for each in workers] == [True, False]
        assert "supervisor_task_failed" not in {line["event"] for line in gateway.lines}


async def test_a_stop_finishes_what_runs_in_every_worker(tmp_path: Path, bundle_dir: Path) -> None:
    async with (
        FakeRunner() as runner,
        two_workers(tmp_path, bundle_dir, runner) as gateway,
        ClientSession() as client,
    ):
        runner.may_answer.clear()
        running = [asyncio.create_task(client.get(gateway.url + HELLO)) for _ in range(8)]
        while len(runner.executed) < len(running):
            await runner.asked.get()
        gateway.send(signal.SIGTERM)
        for worker in range(2):
            await gateway.event("stopping", worker=worker)
        runner.may_answer.set()
        for answer in await asyncio.gather(*running):
            assert answer.status == 200
            assert await answer.json()
        assert await gateway.exit_status() == 0
        assert not [line for line in gateway.lines if line["event"] == "worker_lost"]


async def test_a_second_signal_ends_everything_at_once(tmp_path: Path, bundle_dir: Path) -> None:
    async with (
        FakeRunner() as runner,
        two_workers(tmp_path, bundle_dir, runner) as gateway,
        ClientSession() as client,
    ):
        runner.may_answer.clear()
        running = asyncio.create_task(client.get(gateway.url + HELLO))
        while not runner.executed:
            await runner.asked.get()
        gateway.send(signal.SIGTERM)
        await gateway.event("stopping", worker=1)
        gateway.send(signal.SIGTERM)
        assert await gateway.exit_status() == -signal.SIGTERM
        (outcome,) = await asyncio.gather(running, return_exceptions=True)
        assert isinstance(outcome, Exception)


async def test_workers_do_not_outlive_their_supervisor(tmp_path: Path, bundle_dir: Path) -> None:
    async with (
        FakeRunner() as runner,
        two_workers(tmp_path, bundle_dir, runner) as gateway,
        ClientSession() as client,
    ):
        pids = [pid for pid in (await _pids(client, gateway)).values() if pid]
        gateway.send(signal.SIGKILL)
        for worker in range(2):
            await gateway.event("supervisor_lost", worker=worker)
            await gateway.event("stopped", worker=worker)
        async with asyncio.timeout(30):
            while any(map(_is_running, pids)):  # noqa: ASYNC110
                await asyncio.sleep(0.02)  # nobody tells when another's child is gone


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_fleet_that_cannot_start_says_so_and_ends(tmp_path: Path, bundle_dir: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("neither")
    environ = TWO | {"GATEWAY_TLS_CERT": "cert.pem", "GATEWAY_TLS_KEY": "key.pem"}
    env_file = {"RUNNER_BUNDLE_DIR": str(bundle_dir)}
    async with gateway_process(
        tmp_path, environ=environ, env_file=env_file, awaited="not_started"
    ) as gateway:
        assert (await gateway.event("not_started", error="worker_ended"))["status"] == 1
        assert await gateway.exit_status() == 1
    assert "started" not in {line["event"] for line in gateway.lines}


async def test_a_hand_over_of_all_workers_under_load_refuses_nobody(
    tmp_path: Path, bundle_dir: Path
) -> None:
    async with FakeRunner() as runner, two_workers(tmp_path, bundle_dir, runner) as gateway:
        async with load_on(gateway.url) as load:
            await load.more(200)
            gateway.send(signal.SIGUSR2)
            successor = (await gateway.event("handed_over"))["successor"]
            assert await gateway.exit_status() == 0
            await load.more(200)
        os.kill(successor, signal.SIGTERM)
    assert not load.failures
    assert set(load.answers) == {200}


async def test_every_worker_knows_the_keys_of_a_file(tmp_path: Path, bundle_dir: Path) -> None:
    async with FakeRunner() as runner, IdentityProvider() as provider:
        keys = tmp_path / "keys.json"
        keys.write_text(json.dumps(provider.document))
        jwt = {
            "GATEWAY_AUTH": "jwt",
            "GATEWAY_JWT_ISSUER": ISSUER,
            "GATEWAY_JWT_AUDIENCE": AUDIENCE,
            "GATEWAY_JWT_KEY_FILE": str(keys),
        }
        async with (
            two_workers(tmp_path, bundle_dir, runner, **jwt) as gateway,
            no_keep_alive() as client,
        ):
            seen: set[int] = set()
            async with asyncio.timeout(30):
                while seen != {0, 1}:
                    request_id = os.urandom(8).hex()
                    headers = {
                        "authorization": f"Bearer {provider.token(tenant_id='dev')}",
                        "x-request-id": request_id,
                    }
                    async with client.get(gateway.url + HELLO, headers=headers) as answer:
                        assert answer.status == 200
                    line = await gateway.event("request_answered", request_id=request_id)
                    seen.add(line["worker"])
