"""Two containers of one service: both are used, and the death of one costs what was inside it."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from tests.docker.load import CLIENTS, load
from tests.docker.stack import HELLO, RUNNER, Stack
from tests.journeys.process import gateway_process

LOG_S = 30.0
ONE_BY_ONE = 20

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


async def calls_answered_by(project: Stack, container: str) -> int:
    """How many calls a runner says that it has answered."""
    lines = (await project.log(container)).splitlines()
    return sum('"request_answered"' in line and "/v1/execute" in line for line in lines)


async def test_two_replicas_share_the_load_and_the_death_of_one_fails_only_what_was_inside_it(
    stack: Stack, tmp_path: Path
) -> None:
    with stack.runners() as project:
        await project.start_runners(2)
        first, second = await project.containers(RUNNER)
        async with (
            gateway_process(tmp_path, environ=project.gateway_environ(), env_file={}) as gateway,
            aiohttp.ClientSession(gateway.url) as client,
        ):
            await gateway.event("backend_probed", readiness="ready")
            # One by one: under load the quicker one rightly gets more, however much that is.
            for _ in range(ONE_BY_ONE):
                async with client.get(HELLO) as answer:
                    assert answer.status == 200
            shares = [0, 0]
            async with asyncio.timeout(LOG_S):
                while sum(shares) < ONE_BY_ONE:  # the engine hands log lines on a little later
                    shares = [await calls_answered_by(project, each) for each in (first, second)]
            assert sum(shares) == ONE_BY_ONE
            assert min(shares) >= ONE_BY_ONE * 0.4, shares  # a probe may take a turn

            async with load(client, {}) as calls:
                await calls.see(50)
                await project.docker("kill", first)
                await gateway.event("runner_containers_changed", taken=[second])
                await calls.see(100)
            failed = {key: count for key, count in calls.answers.items() if key[0] != 200}
            assert {(status, error) for status, error, _ in failed} <= {(502, "bad_gateway")}
            assert sum(failed.values()) <= CLIENTS
            assert set(calls.phases) <= {"send", "first_byte", "body"}

            await project.docker("start", first)
            await gateway.event("runner_containers_changed", taken=[first, second])
