"""What callers see while the runner's container is killed, made anew, paused."""

import aiohttp
import pytest

from tests.docker.load import load
from tests.docker.stack import HELLO, RUNNER, Stack

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

# What may be said of a runner that went away: it broke off, or it was not reached. The address
# of a dead container is silent rather than closed, and so uses up the budget for connecting.
HONEST = {
    (200, ""),
    (502, "bad_gateway"),
    (503, "runner_unreachable"),
    (504, "runner_timeout"),
}


async def test_a_runner_killed_and_made_anew_under_load_is_found_again(
    stack: Stack, client: aiohttp.ClientSession
) -> None:
    before, started = await stack.container(RUNNER), await stack.started_at("gateway")
    async with load(client, stack.caller()) as calls:
        await calls.see(20)
        await stack.compose("kill", RUNNER)
        await calls.see(5, good=False)
        await stack.compose("rm", "--force", RUNNER)
        await stack.compose("up", "--detach", "--wait", "--no-build", RUNNER)
        await calls.see(50)
    assert await stack.container(RUNNER) != before
    assert await stack.started_at("gateway") == started
    assert {(status, error) for status, error, _ in calls.answers} <= HONEST
    assert calls.refusals_without_retry_after == 0

    async with load(client, stack.caller()) as afterwards:
        await afterwards.see(50)
    assert afterwards.statuses() == {200}


async def test_a_paused_runner_is_a_timeout_that_names_its_budget_and_ends_with_the_pause(
    stack: Stack, client: aiohttp.ClientSession
) -> None:
    stack.write_env(RUNNER_FIRST_BYTE_TIMEOUT_MS="1500", EXT_GATEWAY_TIMEOUT_MS="5000")
    assert (await stack.dev("swap", "docker")).returncode == 0
    await stack.compose("pause", RUNNER)
    try:
        async with client.get(HELLO, headers=stack.caller()) as answer:
            document = await answer.json(content_type=None)
            assert (answer.status, document["error"]) == (504, "runner_timeout")
    finally:
        await stack.compose("unpause", RUNNER)
        stack.write_env(RUNNER_FIRST_BYTE_TIMEOUT_MS="", EXT_GATEWAY_TIMEOUT_MS="")
        await stack.dev("swap", "docker")
    async with client.get(HELLO, headers=stack.caller()) as answer:
        assert answer.status == 200


async def test_a_swap_to_a_paused_runner_is_refused_and_the_embedded_one_goes_on(
    stack: Stack, client: aiohttp.ClientSession
) -> None:
    assert (await stack.dev("swap", "embedded")).returncode == 0
    await stack.compose("pause", RUNNER)
    try:
        async with load(client, stack.caller()) as calls:
            await calls.see(10)
            assert (await stack.dev("swap", "docker")).returncode == 1
            await calls.see(10)
        assert set(calls.answers) == {(200, "", "embedded")}
    finally:
        await stack.compose("unpause", RUNNER)
    assert (await stack.dev("swap", "docker")).returncode == 0
