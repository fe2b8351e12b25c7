"""Several workers on one port: they serve, and switch, as one gateway."""

import asyncio
import json
import os
import signal
from pathlib import Path

from yarl import URL

from tests.fakes.identity_provider import AUDIENCE, ISSUER, IdentityProvider
from tests.fakes.runner import FakeRunner, HttpAnswer
from tests.journeys.load import HELLO, load_on
from tests.journeys.workers import (
    calls_counted,
    json_of,
    no_keep_alive,
    pids_of,
    settings_of,
    two_workers,
    until_both_answered,
)


async def test_two_workers_serve_and_speak_as_one(tmp_path: Path, bundle_dir: Path) -> None:
    async with (
        FakeRunner() as runner,
        two_workers(tmp_path, bundle_dir, runner) as gateway,
        no_keep_alive() as client,
    ):
        await until_both_answered(gateway, client, HELLO)
        pids = await pids_of(client, gateway)
        assert set(pids) == {0, 1}
        assert len(set(pids.values())) == 2
        assert gateway.output.count(b"Extension gateway on") == 1

        calls = len(runner.executed)
        for _ in range(4):  # whichever worker is asked
            assert await calls_counted(client, gateway) == calls
        # The console counts whole seconds, so the last calls take one to arrive.
        async with asyncio.timeout(30):
            while True:
                shown = await json_of(client, f"{gateway.url}/gateway/v1/console/snapshot")
                if shown["traffic"]["total"]["requests"] >= calls:
                    break
                # Each look is a line itself, and the log kept for readers is bounded.
                await asyncio.sleep(0.2)
        assert [each["answered"] for each in shown["workers"]] == [True, True]
        assert shown["in_flight"]["limit"] == 1024
        assert {line["route"] for line in shown["lines"]} >= {"/api/ext/{extension}/{path}"}
        backend = await json_of(client, f"{gateway.url}/gateway/v1/backend")
        assert [each["worker"] for each in backend["workers"]] == [0, 1]

        request_id = runner.executed[0].headers["x-request-id"]
        found = await json_of(
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
        await until_both_answered(gateway, client, page.raw_path.replace("index.html", "app.js"))
    assert len(runner.assets) >= 2
    assert {asked.headers.get("x-tenant-id") for asked in runner.assets} == {"dev"}


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
            gateway.write_env(**settings_of(bundle_dir, two if generation % 2 == 0 else one))
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
        gateway.write_env(**settings_of(bundle_dir, sick))
        gateway.send(signal.SIGHUP)
        refused = await gateway.event("reload_refused", level="warning")
        assert refused["generation"] == 1
        assert refused["reason"] == (await gateway.event("worker_refused"))["reason"]
        assert len([line for line in gateway.lines if line["event"] == "worker_refused"]) == 1
        await until_both_answered(gateway, client, HELLO)
        assert not sick.executed
        told = await json_of(client, f"{gateway.url}/gateway/v1/generations")
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
        victim = (await pids_of(client, gateway))[1]
        assert victim
        new.may_answer.clear()
        gateway.write_env(**settings_of(bundle_dir, new))
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
            while (await pids_of(client, gateway))[1] in {None, victim}:
                pass
        await until_both_answered(gateway, client, HELLO)
        assert not new.executed

        receipt = await json_of(client, f"{gateway.url}/gateway/v1/reload", "POST")
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
            gateway.write_env(**settings_of(bundle_dir, two if generation % 2 == 0 else one))
            planned = await json_of(client, f"{reload}?plan=true", "POST")
            assert (planned["outcome"], planned["plan"]) == ("switched", True)
            assert planned["generation"] == generation - 1
            receipt = await json_of(client, reload, "POST")
            assert (receipt["outcome"], receipt["generation"]) == ("switched", generation)
            assert receipt["changed"] == ["RUNNER_BASE_URL"]
        await until_both_answered(gateway, client, HELLO)
        asked = {
            line["worker"]
            for line in gateway.lines
            if line["event"] == "request_answered" and line["route"] == "/gateway/v1/reload"
        }
        assert asked == {0, 1}
        for _ in range(4):
            async with asyncio.timeout(10):
                while True:
                    told = await json_of(client, f"{gateway.url}/gateway/v1/generations")
                    if all(receipt["drained_ms"] is not None for receipt in told["receipts"]):
                        break
            assert [each["generation"] for each in told["receipts"]] == [7, 6, 5, 4, 3, 2]


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
