"""SIGHUP asks for a reload and never ends the process, whenever it comes."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.fakes.identity_provider import AUDIENCE, ISSUER, IdentityProvider
from tests.fakes.runner import FakeRunner
from tests.journeys.process import GatewayProcess, gateway_process
from tests.journeys.workers import settings_of

WORKERS = pytest.mark.parametrize("workers", ["1", "2"])


@asynccontextmanager
async def starting(
    folder: Path, runner: FakeRunner, provider: IdentityProvider, workers: str
) -> AsyncIterator[GatewayProcess]:
    """A gateway whose start waits for the keys of its callers."""
    provider.may_answer.clear()
    environ = {
        "GATEWAY_WORKERS": workers,
        "GATEWAY_AUTH": "jwt",
        "GATEWAY_JWT_ISSUER": ISSUER,
        "GATEWAY_JWT_AUDIENCE": AUDIENCE,
        "GATEWAY_JWT_JWKS_URL": provider.url,
    }
    env_file = settings_of(folder / "bundles", runner)
    async with gateway_process(folder, environ=environ, env_file=env_file, awaited=None) as gateway:
        async with asyncio.timeout(30):
            while provider.asked < int(workers):  # noqa: ASYNC110  it counts, tells nobody
                await asyncio.sleep(0.01)
        yield gateway


@WORKERS
async def test_a_reload_that_is_asked_for_during_the_start_is_done_after_it(
    tmp_path: Path, workers: str
) -> None:
    async with (
        FakeRunner() as one,
        FakeRunner() as two,
        IdentityProvider() as provider,
        starting(tmp_path, one, provider, workers) as gateway,
    ):
        gateway.write_env(**settings_of(tmp_path / "bundles", two))
        for _ in range(3):
            gateway.send(signal.SIGHUP)
        provider.may_answer.set()
        await gateway.event("started")
        receipt = await gateway.event("backend_swapped", generation=2)
        assert receipt["trigger"] == "signal"
        gateway.send(signal.SIGTERM)
        assert await gateway.exit_status() == 0


@WORKERS
async def test_a_start_that_waits_can_be_stopped(tmp_path: Path, workers: str) -> None:
    async with (
        FakeRunner() as runner,
        IdentityProvider() as provider,
        starting(tmp_path, runner, provider, workers) as gateway,
    ):
        gateway.send(signal.SIGTERM)
        assert await gateway.exit_status() == 0
        await gateway.event("stopped")
    assert {line["event"] for line in gateway.lines} <= {"stopping", "stopped"}


async def test_a_start_can_be_stopped_when_some_workers_serve_and_others_do_not(
    tmp_path: Path,
) -> None:
    async with (
        FakeRunner() as runner,
        IdentityProvider() as provider,
        starting(tmp_path, runner, provider, "2") as gateway,
    ):
        provider.one_at_a_time = True
        provider.may_answer.set()
        await gateway.event("backend_probed")
        gateway.send(signal.SIGTERM)
        assert await gateway.exit_status() == 0
    assert "workers_killed" not in {line["event"] for line in gateway.lines}


@WORKERS
async def test_what_is_asked_for_during_a_stop_changes_nothing_about_it(
    tmp_path: Path, workers: str
) -> None:
    environ = {"GATEWAY_WORKERS": workers}
    async with FakeRunner() as runner:
        env_file = settings_of(tmp_path / "bundles", runner)
        async with gateway_process(tmp_path, environ=environ, env_file=env_file) as gateway:
            gateway.send(signal.SIGTERM)
            await gateway.event("stopping")

            async def ask_on() -> None:
                while True:
                    for number in (signal.SIGHUP, signal.SIGUSR2):
                        os.kill(gateway.pid, number)
                    await asyncio.sleep(0.001)

            asking = asyncio.create_task(ask_on())
            assert await gateway.exit_status() == 0
            await asyncio.gather(asking, return_exceptions=True)
    told = [line["event"] for line in gateway.lines if "reload" in line["event"]]
    assert told == []
    assert not any("hand_over" in line["event"] for line in gateway.lines)
