"""A gateway in front of the fake runner, for every test of this folder that asks."""

from collections.abc import AsyncIterator

import pytest

from tests.fakes.runner import FakeRunner
from tests.gateway.harness import Gateway, in_front_of, running


@pytest.fixture
async def runner() -> AsyncIterator[FakeRunner]:
    async with FakeRunner() as fake:
        yield fake


@pytest.fixture
async def gateway(runner: FakeRunner) -> AsyncIterator[Gateway]:
    async with running(in_front_of(runner)) as started:
        yield started
