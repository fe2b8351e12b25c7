"""One engine and one stack for all of these tests; one that fails does not fail the next."""

import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.docker.stack import HELLO, Stack, copy_sources
from tests.rigs.docker.commands import EngineUnavailable
from tests.rigs.docker.engine import Engine, docker_engine


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A Docker engine; where none can be had, a skip, but a failure in continuous integration."""
    running = docker_engine()
    try:
        engine = running.__enter__()
    except EngineUnavailable as why:
        if os.environ.get("CI"):
            pytest.fail(f"no Docker engine: {why}")
        pytest.skip(f"no Docker engine: {why}")
    try:
        yield engine
    finally:
        running.__exit__(None, None, None)


@pytest.fixture(scope="session")
def stack(engine: Engine, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A fresh copy of the sources after `scripts/dev up`; its log, when a test has failed."""
    with tempfile.TemporaryDirectory(prefix="gateway-clone.") as name:
        folder = Path(name)
        folder.chmod(0o755)  # as a clone is; pytest's own folders are shut to the containers
        copy_sources(folder)
        stack = Stack(folder, engine.environ, project=f"gateway-test-{secrets.token_hex(4)}")
        try:
            stack.up()
            yield stack
        finally:
            if request.session.testsfailed:
                sys.stderr.write(stack.last_words())
            stack.down()


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the stack's gateway, which uses the runner's container; gives up in time."""
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(stack.url, timeout=timeout) as session:
        if not await _is_whole(stack, session):  # an earlier test has failed half way
            stack.write_env(RUNNER_BACKEND="docker")
            await stack.compose("up", "--detach", "--wait", "--no-build", "--force-recreate")
        yield session


async def _is_whole(stack: Stack, session: aiohttp.ClientSession) -> bool:
    try:
        async with session.get(HELLO, headers=stack.caller()) as answer:
            return (answer.status, answer.headers["x-runner-backend"]) == (200, "docker")
    except aiohttp.ClientError:
        return False
