"""The runner's log, followed while its container is restarted and its process is killed."""

import asyncio
import os
import signal
from pathlib import Path

import aiohttp
import pytest

from tests.docker.following import following
from tests.docker.stack import HELLO, RUNNER, Stack
from tests.journeys.process import gateway_process

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


async def answered(client: aiohttp.ClientSession) -> str:
    """Call until there is an answer; the id of the call that got it."""
    async with asyncio.timeout(60):
        while True:
            async with client.get(HELLO) as answer:
                if answer.status == 200:
                    return answer.headers["x-request-id"]


async def test_following_tells_every_line_once_through_a_restart_and_a_crash(
    stack: Stack, tmp_path: Path
) -> None:
    with stack.runners() as project:
        await project.start_runners()
        container = await project.container(RUNNER)
        async with (
            gateway_process(tmp_path, environ=project.gateway_environ(), env_file={}) as gateway,
            aiohttp.ClientSession(gateway.url) as client,
        ):
            await gateway.event("backend_probed", readiness="ready")
            async with following(client) as followed:
                await followed.has_told_of(await answered(client))
                await project.docker("restart", container)
                await followed.has_told_of(await answered(client))
                crashed = await project.docker("inspect", "--format", "{{.State.Pid}}", container)
                os.kill(int(crashed), signal.SIGKILL)  # the engine starts it again
                await _has_started_again(project, container, crashed)
                await followed.has_told_of(last := await answered(client))

        written = [
            line.split(" ", 1)
            for line in (await project.log(container, "--timestamps")).split("\n")
        ]
    told = [line for line in followed.lines if line[0] <= _last(followed.lines, last)]
    expected = [(at, text) for at, text in written[:-1] if told[0][0] <= at <= told[-1][0]]
    assert told == expected
    assert sum("Extension runner on" in text for _, text in told) == 2  # its first word, twice


def _last(lines: list[tuple[str, str]], request_id: str) -> str:
    return next(at for at, text in lines if request_id in text)


async def _has_started_again(project: Stack, container: str, before: str) -> None:
    async with asyncio.timeout(60):
        while True:
            now = await project.docker("inspect", "--format", "{{.State.Pid}}", container)
            if now.strip() not in {"0", before.strip()}:
                return
