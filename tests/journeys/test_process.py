"""What the journeys start is gone when they end, or they say who is left."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.fakes.runner import FakeRunner
from tests.journeys import process
from tests.journeys.workers import two_workers


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whose a process is")
async def test_a_worker_that_survives_its_gateway_is_named_and_ended(
    tmp_path: Path, bundle_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "EXIT_S", 1.0)
    frozen = 0

    async def journey() -> None:
        nonlocal frozen
        async with FakeRunner() as runner, two_workers(tmp_path, bundle_dir, runner) as gateway:
            frozen = (await gateway.event("worker_started", worker=1))["pid"]
            os.kill(frozen, signal.SIGSTOP)

    with pytest.raises(ExceptionGroup) as caught:
        await journey()
    (failure,) = caught.value.exceptions
    assert f"{frozen}: " in str(failure)
    assert "gateway.supervisor.worker" in str(failure)
    async with asyncio.timeout(30):
        while dict(process.started_with(tmp_path / "gateway.env")):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
