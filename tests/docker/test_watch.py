"""`docker compose watch`: an edited source is in the gateway's container soon, and only there."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest

from tests.docker.stack import HELLO, RUNNER, Stack

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

_FIRST_BUILD_S = 60.0
_REPLACED_S = 90.0
_INSTALLED = "import gateway; print(gateway.__doc__)"


@asynccontextmanager
async def watching(stack: Stack) -> AsyncIterator[None]:
    """From when changes are seen."""
    process = await asyncio.create_subprocess_exec(
        "docker", "compose", "watch",
        cwd=stack.folder,
        env=stack.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # `docker` runs its plugin as a process of its own
    )  # fmt: skip
    assert process.stdout is not None
    reading = None
    try:
        async with asyncio.timeout(_FIRST_BUILD_S):
            while b"watch enabled" not in (line := await process.stdout.readline()).lower():
                assert line, "it ended"
        reading = asyncio.create_task(process.stdout.read())  # lest it wait for a reader
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        if reading is not None:
            await reading


@asynccontextmanager
async def edited(stack: Stack) -> AsyncIterator[None]:
    """From an edit of one source until the stack is as it was."""
    source = stack.folder / "gateway" / "__init__.py"
    original = source.read_text()
    source.write_text('"""Edited."""\n')
    try:
        yield
    finally:
        source.write_text(original)
        assert (await stack.dev("up")).returncode == 0


async def running_by_its_name(stack: Stack) -> str:
    """The id of the gateway's container; a new one has another name until the old one is gone."""
    name = f"{stack.environ['COMPOSE_PROJECT_NAME']}-gateway-1"
    return (await stack.docker("ps", "--quiet", "--no-trunc", "--filter", f"name=^{name}$")).strip()


async def test_an_edited_source_replaces_the_gateway_and_the_runner_only_at_the_next_up(
    stack: Stack, client: aiohttp.ClientSession
) -> None:
    async with AsyncExitStack() as undo:
        async with watching(stack):
            gateway, runner = await stack.container("gateway"), await stack.container(RUNNER)
            await undo.enter_async_context(edited(stack))
            async with asyncio.timeout(_REPLACED_S):
                while await running_by_its_name(stack) in ("", gateway):  # a process each time
                    pass
            # Until both are healthy.
            await stack.compose("up", "--detach", "--wait", "--no-build", "--no-recreate")
            said = await stack.compose("exec", "-T", "gateway", "python3", "-c", _INSTALLED)
            assert said.strip() == "Edited."
            assert await stack.container(RUNNER) == runner
            async with client.get(HELLO, headers=stack.caller()) as answer:
                assert answer.status == 200
        assert (await stack.dev("up")).returncode == 0
        assert await stack.container(RUNNER) != runner
