"""What is said of a worker's end."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator

import pytest

from gateway.supervisor.channel import Channel
from gateway.supervisor.process import StartFailed, WorkerProcess


async def nobody_asks(_verb: str, _arguments: dict[str, object]) -> None: ...


@pytest.fixture
async def worker() -> AsyncIterator[WorkerProcess]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import time;time.sleep(60)"
    )
    mine, its = socket.socketpair()
    with its:
        channel = Channel(mine, nobody_asks)
        await channel.open()
        worker = WorkerProcess(0, process, channel)
        yield worker
        its.close()
        await worker.kill()


async def test_one_that_the_system_killed_may_have_had_no_memory(worker: WorkerProcess) -> None:
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(StartFailed) as failed:
        await worker.until_serving()
    assert worker.end["status"] == -signal.SIGKILL
    assert "without memory" in str(worker.end["detail"])
    assert failed.value.why == {"error": "worker_ended", **worker.end}


async def test_one_that_its_supervisor_killed_had_enough(worker: WorkerProcess) -> None:
    worker.note_serving()
    await worker.kill()
    assert worker.end == {"status": -signal.SIGKILL}


async def test_any_other_end_has_its_status_alone(worker: WorkerProcess) -> None:
    worker.note_serving()
    worker.terminate()
    await worker.ended.wait()
    assert worker.end == {"status": -signal.SIGTERM}
