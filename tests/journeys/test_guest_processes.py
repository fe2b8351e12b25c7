"""A gateway whose guests have processes of their own: they die and are swapped under load."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.journeys.load import load_on
from tests.journeys.process import GatewayProcess, gateway_process

CLIENTS = 8
SOON_S = 30.0


def settings(bundle_dir: Path, processes: int) -> dict[str, str]:
    return {
        "RUNNER_BUNDLE_DIR": str(bundle_dir),
        "RUNNER_PROCESSES": str(processes),
        "RUNNER_MAX_CONCURRENCY": "8",
        "GATEWAY_PROBE_INTERVAL_MS": "100",
    }


async def pids(gateway: GatewayProcess) -> list[int]:
    """The guest processes that run, as an operator is told."""
    async with ClientSession() as client, client.get(f"{gateway.url}/gateway/v1/backend") as answer:
        metadata = (await answer.json())["metadata"]
    return [each["pid"] for each in metadata.get("processes", []) if each["pid"]]


async def test_crashes_under_load_cost_the_calls_that_ran_there_and_nothing_else(
    tmp_path: Path, bundle_dir: Path
) -> None:
    async with (
        gateway_process(tmp_path, environ={}, env_file=settings(bundle_dir, 2)) as gateway,
        load_on(gateway.url, clients=CLIENTS) as load,
    ):
        for crash in range(1, 5):
            await load.more(200)
            victim = (await pids(gateway))[crash % 2]
            os.kill(victim, signal.SIGABRT)  # as an engine that panics ends its process
            await gateway.event("guest_process_ended", place=crash % 2)
            async with asyncio.timeout(SOON_S):
                while len(set(await pids(gateway)) - {victim}) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        # One that all calls have to wait for.
        for pid in await pids(gateway):
            os.kill(pid, signal.SIGKILL)
        await load.more(200)
    assert load.failures == {}
    assert load.answers.keys() <= {200, 502}
    assert load.answers[502] <= CLIENTS * 5
    assert load.answers[200] >= 1_000
    assert load.generations.keys() == {1}


async def test_a_swap_moves_guests_out_of_the_process_and_back_without_losing_a_call(
    tmp_path: Path, bundle_dir: Path
) -> None:
    async with (
        gateway_process(tmp_path, environ={}, env_file=settings(bundle_dir, 0)) as gateway,
        load_on(gateway.url, clients=CLIENTS) as load,
    ):
        for generation, processes in ((2, 1), (3, 2), (4, 0)):
            await load.more(100)
            gateway.write_env(**settings(bundle_dir, processes))
            gateway.send(signal.SIGHUP)
            await gateway.event("backend_swapped", generation=generation, outcome="switched")
            assert len(await pids(gateway)) == processes
            await gateway.event("generation_drained", generation=generation - 1)
        await load.more(100)
    assert load.failures == {}
    assert load.answers.keys() == {200}
    assert load.generations.keys() == {1, 2, 3, 4}


async def test_guest_processes_end_with_a_gateway_that_is_killed(
    tmp_path: Path, bundle_dir: Path
) -> None:
    async with gateway_process(tmp_path, environ={}, env_file=settings(bundle_dir, 2)) as gateway:
        assert len(await pids(gateway)) == 2
        gateway.send(signal.SIGKILL)
        for place in range(2):
            await gateway.event("stopped", guest_process=place)


async def test_workers_have_guest_processes_of_their_own(tmp_path: Path, bundle_dir: Path) -> None:
    environ = {"GATEWAY_WORKERS": "2"}
    async with (
        gateway_process(tmp_path, environ=environ, env_file=settings(bundle_dir, 2)) as gateway,
        ClientSession() as client,
    ):
        async with client.get(f"{gateway.url}/gateway/v1/backend") as answer:
            workers = (await answer.json())["workers"]
        assert [each["worker"] for each in workers] == [0, 1]
        assert len(await pids(gateway)) == 1  # of the two that were asked for


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone says what a process holds")
async def test_a_guest_process_has_neither_the_port_nor_a_way_to_the_supervisor(
    tmp_path: Path, bundle_dir: Path
) -> None:
    environ = {"GATEWAY_WORKERS": "2"}
    async with gateway_process(
        tmp_path, environ=environ, env_file=settings(bundle_dir, 2)
    ) as gateway:
        workers = [await gateway.event("worker_started", worker=place) for place in range(2)]
        (guest,) = await pids(gateway)
        its_own = sockets_of(guest)
        assert not its_own & sockets_of(gateway.pid)
        # What it answers calls on is kept for it by the one that has started it.
        assert [len(its_own & sockets_of(each["pid"])) for each in workers] in ([1, 0], [0, 1])


def sockets_of(pid: int) -> set[str]:
    """The sockets that a process has open."""
    folder = Path(f"/proc/{pid}/fd")
    return {name for each in folder.iterdir() if (name := os.readlink(each)).startswith("socket:")}
