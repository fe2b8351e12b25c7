"""The engine stopped and started under a gateway that follows it.

Ports that an engine publishes on loopback are its own processes: while it is stopped, no
container is reached through them, whether it lives on or not.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.docker.following import following
from tests.docker.load import CLIENTS, Load, load
from tests.docker.stack import HELLO, RUNNER, Stack
from tests.journeys.process import GatewayProcess, gateway_process
from tests.rigs.docker.daemon import Daemon
from tests.rigs.docker.engine import Engine

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

HONEST = {
    (200, ""),
    (502, "bad_gateway"),
    (503, "runner_unreachable"),
    (504, "runner_timeout"),
}


@pytest.fixture
async def daemon(engine: Engine, stack: Stack) -> AsyncIterator[Daemon]:
    """The rig's own engine, as it was again afterwards; the stack comes back with it."""
    if engine.daemon is None:
        pytest.skip("this engine is somebody else's, and is not restarted")
    yield engine.daemon
    await asyncio.to_thread(engine.daemon.stop)
    await asyncio.to_thread(engine.daemon.start)
    await stack.compose("up", "--detach", "--wait", "--no-build")


@pytest.fixture
async def gateway(daemon: Daemon, stack: Stack, tmp_path: Path) -> AsyncIterator[GatewayProcess]:
    """A gateway on the host that found the stack's runner."""
    async with gateway_process(tmp_path, environ=stack.gateway_environ(), env_file={}) as gateway:
        await gateway.event("backend_probed", readiness="ready")
        yield gateway


async def test_calls_are_answered_again_after_the_engine_and_its_containers_were_restarted(
    stack: Stack, daemon: Daemon, gateway: GatewayProcess
) -> None:
    before = await stack.container(RUNNER), await stack.started_at(RUNNER)
    async with aiohttp.ClientSession(gateway.url) as client, following(client) as followed:
        await followed.has_told_of(await _answered(client))
        async with load(client, {}) as calls:
            await calls.see(20)
            await asyncio.to_thread(daemon.stop)
            await gateway.event("runner_containers_changed", fault="engine_unreachable")
            assert (await _described(client))["engine"]["fault"] == "engine_unreachable"
            await calls.see(5, good=False)
            await asyncio.to_thread(daemon.start)
            await calls.see(50)
        assert {(status, error) for status, error, _ in calls.answers} <= HONEST
        assert calls.refusals_without_retry_after == 0
        assert _broken_off(calls) <= 2 * CLIENTS  # not one call after the other
        async with load(client, {}) as afterwards:
            await afterwards.see(50)
        assert afterwards.statuses() == {200}

        described = await _described(client)
        assert described["engine"]["fault"] is None
        (container,) = described["containers"]
        assert before[0].startswith(container["id"])
        assert await stack.started_at(RUNNER) != before[1]

        # The log is followed again, and so are events.
        await followed.has_told_of(await _answered(client))
        assert len(set(followed.lines)) == len(followed.lines)
        await stack.compose("pause", RUNNER)
        await gateway.event("runner_containers_changed", reason="container_paused")
        await stack.compose("unpause", RUNNER)
        assert await _answered(client)


async def test_with_live_restore_the_same_process_answers_after_the_engine_is_back(
    stack: Stack, daemon: Daemon, gateway: GatewayProcess
) -> None:
    await asyncio.to_thread(daemon.stop)
    await asyncio.to_thread(daemon.start, live_restore=True)
    async with aiohttp.ClientSession(gateway.url) as client:
        await _answered(client)
        before = await _life(stack)
        async with load(client, {}) as calls:
            await calls.see(20)
            await asyncio.to_thread(daemon.stop)
            await calls.see(5, good=False)
            await asyncio.to_thread(daemon.start, live_restore=True)
            await calls.see(50)
        assert await _life(stack) == before
        assert {(status, error) for status, error, _ in calls.answers} <= HONEST
        assert calls.refusals_without_retry_after == 0
        assert _broken_off(calls) <= 2 * CLIENTS  # not one call after the other


def _broken_off(calls: Load) -> int:
    return sum(count for (status, _, _), count in calls.answers.items() if status == 502)


async def _answered(client: aiohttp.ClientSession) -> str:
    """Call until there is an answer; the id of the call that got it."""
    async with asyncio.timeout(60):
        while True:
            async with client.get(HELLO) as answer:
                if answer.status == 200:
                    return answer.headers["x-request-id"]


async def _described(client: aiohttp.ClientSession) -> Mapping[str, Any]:
    async with client.get("/gateway/v1/backend") as answer:
        metadata: Mapping[str, Any] = (await answer.json())["metadata"]
        return metadata


async def _life(stack: Stack) -> str:
    """Which process the runner's container is: its id, its start."""
    return await stack.docker(
        "inspect", "--format", "{{.State.Pid}} {{.State.StartedAt}}", await stack.container(RUNNER)
    )
