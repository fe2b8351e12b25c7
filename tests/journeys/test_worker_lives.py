"""Workers start, die, are replaced and end, and nobody who calls is to notice."""

import asyncio
import os
import signal
import ssl
from pathlib import Path

from aiohttp import ClientSession, TCPConnector

from gateway.verbs.certificates import make_certificates
from tests.fakes.identity_provider import AUDIENCE, ISSUER, IdentityProvider
from tests.fakes.runner import FakeRunner
from tests.journeys.load import HELLO, load_on
from tests.journeys.process import gateway_process
from tests.journeys.workers import (
    TWO,
    calls_counted,
    json_of,
    no_keep_alive,
    pids_of,
    settings_of,
    two_workers,
    until_both_answered,
)


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
        before = await calls_counted(client, gateway)
        victim = (await pids_of(client, gateway))[0]
        assert victim
        os.kill(victim, signal.SIGKILL)
        lost = await gateway.event("worker_lost", worker=0, pid=victim, status=-signal.SIGKILL)
        assert "without memory" in lost["detail"]
        after = await calls_counted(client, gateway)
        assert after >= before
        pid = lost["pid"]
        async with asyncio.timeout(30):
            while pid in {None, victim}:
                pid = (await pids_of(client, gateway))[0]
        await load.more(300)
        assert await calls_counted(client, gateway) >= after + 300
        async with client.get(f"{gateway.url}/metrics") as answer:
            assert "gateway_worker_restarts_total 1.0" in await answer.text()
    assert set(load.answers) == {200}
    # What ran in the killed worker is lost; no new connection was.
    assert set(load.failures) <= {"ServerDisconnectedError", "ClientOSError"}
    assert load.failures.total() <= 8


async def test_counters_that_cannot_be_added_up_are_not_told(
    tmp_path: Path, bundle_dir: Path
) -> None:
    async with (
        FakeRunner() as runner,
        two_workers(tmp_path, bundle_dir, runner) as gateway,
        no_keep_alive() as client,
    ):
        gateway.send(signal.SIGSTOP)
        async with client.get(f"{gateway.url}/metrics") as answer:
            assert answer.status == 503
            assert (await answer.json(content_type=None))["reason"] == "workers_not_asked"
        gateway.send(signal.SIGCONT)
        async with client.get(f"{gateway.url}/metrics") as answer:
            assert answer.status == 200


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
            pid = (await pids_of(client, gateway))[place]
            assert pid
            os.kill(pid, signal.SIGTERM)
            await gateway.event("worker_leaving", pid=pid)
            async with asyncio.timeout(30):
                while (await pids_of(client, gateway))[place] in {None, pid}:
                    pass
            await load.more(200)
    assert not load.failures
    assert set(load.answers) == {200}


async def test_a_worker_that_is_started_later_begins_with_what_was_committed(
    tmp_path: Path, bundle_dir: Path
) -> None:
    async with (
        FakeRunner() as one,
        FakeRunner() as two,
        two_workers(tmp_path, bundle_dir, one) as gateway,
        no_keep_alive() as client,
    ):
        gateway.write_env(**settings_of(bundle_dir, two))
        gateway.send(signal.SIGHUP)
        await gateway.event("backend_swapped", generation=2)
        gateway.write_env(RUNNER_BACKEND="dokcer")
        gateway.send(signal.SIGHUP)
        await gateway.event("reload_refused")
        victim = (await pids_of(client, gateway))[0]
        assert victim
        os.kill(victim, signal.SIGKILL)
        await gateway.event("worker_started", worker=0, generation=2)
        await until_both_answered(gateway, client, HELLO)
        assert not one.executed
        told = await json_of(client, f"{gateway.url}/gateway/v1/generations")
        assert [each["outcome"] for each in told["receipts"]] == ["refused", "switched"]


async def test_a_worker_that_was_being_started_knows_what_was_refused_meanwhile(
    tmp_path: Path, bundle_dir: Path
) -> None:
    jwt = {
        "GATEWAY_AUTH": "jwt",
        "GATEWAY_JWT_ISSUER": ISSUER,
        "GATEWAY_JWT_AUDIENCE": AUDIENCE,
    }
    async with (
        FakeRunner() as runner,
        IdentityProvider() as provider,
        two_workers(
            tmp_path, bundle_dir, runner, GATEWAY_JWT_JWKS_URL=provider.url, **jwt
        ) as gateway,
        no_keep_alive() as client,
    ):
        victim = (await pids_of(client, gateway))[0]
        assert victim
        provider.may_answer.clear()
        asked = provider.asked
        os.kill(victim, signal.SIGKILL)
        async with asyncio.timeout(30):
            while provider.asked == asked:  # noqa: ASYNC110  it counts, tells nobody
                await asyncio.sleep(0.01)
        gateway.write_env(RUNNER_BACKEND="dokcer")
        gateway.send(signal.SIGHUP)
        await gateway.event("reload_refused")
        provider.may_answer.set()
        async with asyncio.timeout(30):
            while (await pids_of(client, gateway))[0] in {None, victim}:
                pass
        await until_both_answered(gateway, client, "/gateway/v1/generations")
        for _ in range(8):
            told = await json_of(client, f"{gateway.url}/gateway/v1/generations")
            assert [each["outcome"] for each in told["receipts"]] == ["refused"]


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
        victim = (await pids_of(client, gateway))[1]
        assert victim
        await asyncio.to_thread(
            tls.server_key.write_text, "no key"
        )  # whoever is started from now on cannot serve
        os.kill(victim, signal.SIGKILL)
        line = await gateway.event("worker_not_started", worker=1)
        assert (line["error"], line["variable"]) == ("certificate_unusable", "GATEWAY_TLS_KEY")
        for _ in range(40):  # half of them arrive at the socket of the empty place
            async with (
                asyncio.timeout(10),
                client.get(f"{gateway.url}/readyz") as answer,
            ):
                assert answer.status == 200
                workers = (await answer.json())["workers"]
            assert [each["answered"] for each in workers] == [True, False]
        assert "supervisor_task_failed" not in {line["event"] for line in gateway.lines}


async def test_a_stop_finishes_what_runs_in_every_worker_and_takes_nothing_new(
    tmp_path: Path, bundle_dir: Path
) -> None:
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
        await gateway.until_it_refuses()
        runner.may_answer.set()
        for answer in await asyncio.gather(*running):
            assert answer.status == 200
            assert await answer.json()
        assert await gateway.exit_status() == 0
        assert not [line for line in gateway.lines if line["event"] == "worker_lost"]


async def test_whoever_connects_while_workers_stop_one_after_the_other_is_served(
    tmp_path: Path, bundle_dir: Path
) -> None:
    async with (
        FakeRunner() as runner,
        two_workers(tmp_path, bundle_dir, runner) as gateway,
    ):
        async with ClientSession() as client:
            slow = (await pids_of(client, gateway))[1] or 0
        assert slow
        os.kill(slow, signal.SIGSTOP)
        gateway.send(signal.SIGTERM)
        await gateway.event("stopped", worker=0)
        # The system spreads them over the sockets of both.
        last = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(16)]
        for _, writer in last:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        os.kill(slow, signal.SIGCONT)
        for reader, writer in last:
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            writer.close()
        assert await gateway.exit_status() == 0


async def test_workers_do_not_outlive_their_supervisor(tmp_path: Path, bundle_dir: Path) -> None:
    async with (
        FakeRunner() as runner,
        two_workers(tmp_path, bundle_dir, runner) as gateway,
        ClientSession() as client,
    ):
        pids = [pid for pid in (await pids_of(client, gateway)).values() if pid]
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


async def test_a_fleet_that_cannot_start_says_so_and_ends(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    env_file = {"RUNNER_BUNDLE_DIR": "file/bundles"}
    async with gateway_process(
        tmp_path, environ=TWO, env_file=env_file, awaited="not_started"
    ) as gateway:
        assert await gateway.exit_status() == 1
    (line,) = gateway.lines  # each worker has met the same
    assert (line["event"], line["error"]) == ("not_started", "bundle_dir_unusable")
    assert "Not a directory" in line["detail"]


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
