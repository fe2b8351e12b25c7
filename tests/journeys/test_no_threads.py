"""The system gives no more threads: pids.max, TasksMax=, ulimit -u."""

import asyncio
import signal
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.journeys.process import gateway_process

REPOSITORY = Path(__file__).parents[2]

AT_THE_LIMIT = """
import os, threading
start, left = threading.Thread.start, int(os.environ["THREADS_LEFT"])
def refuse(thread):
    global left
    if left == 0:
        raise RuntimeError("can't start new thread")
    left -= 1
    start(thread)
threading.Thread.start = refuse
"""
"""Every process of the program, which a test cannot limit for itself alone."""

LIBUV_AT_THE_LIMIT = """
import os, uvloop
class Loop(uvloop.Loop):
    async def getaddrinfo(self, *_, **__):
        os.abort()
uvloop.Loop = Loop
"""
"""What libuv does with its first lookup, of an address too; only the system can limit it."""


def limited(folder: Path, threads: int) -> dict[str, str]:
    (folder / "sitecustomize.py").write_text(AT_THE_LIMIT)
    return {"PYTHONPATH": f"{folder}:{REPOSITORY}", "THREADS_LEFT": str(threads)}


@pytest.mark.parametrize("threads", [0, 1, 2])
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_start_without_threads_says_which_limit_to_raise(
    tmp_path: Path, workers: str, threads: int
) -> None:
    environ = limited(tmp_path, threads) | {"GATEWAY_WORKERS": workers}
    async with gateway_process(
        tmp_path, environ=environ, env_file={}, awaited="not_started"
    ) as gateway:
        line = await gateway.event("not_started", error="no_threads", level="error")
        assert await gateway.exit_status() == 1
    assert "pids.max" in line["fix"]
    assert gateway.lines == [line]


async def test_what_is_done_in_threads_is_done_by_those_that_there_are(tmp_path: Path) -> None:
    environ = limited(tmp_path, 2) | {
        "RUNNER_BACKEND": "knative",
        "RUNNER_BASE_URL": "http://runner.invalid",
        "GATEWAY_ENV_WATCH_MS": "50",
    }
    async with gateway_process(tmp_path, environ=environ, env_file={}) as gateway:

        async def console() -> int:
            async with client.get(gateway.url + "/gateway/") as answer:
                return answer.status

        async with ClientSession() as client:
            assert await asyncio.gather(*(console() for _ in range(16))) == [200] * 16
        gateway.write_env(GATEWAY_LOG_LEVEL="info")
        await gateway.event("env_file_changed")
        await gateway.event("reload_unchanged")
        gateway.send(signal.SIGTERM)
        assert await gateway.exit_status() == 0
    assert "not_started" not in {line["event"] for line in gateway.lines}


async def test_a_name_that_is_looked_up_is_no_end_of_the_process(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(LIBUV_AT_THE_LIMIT)
    environ = {
        "PYTHONPATH": f"{tmp_path}:{REPOSITORY}",
        "RUNNER_BACKEND": "knative",
        "RUNNER_BASE_URL": "http://runner.invalid",
        "REGISTRY_BASE_URL": "http://127.0.0.1:9",
        "RUNNER_CONFIG_API_TOKEN": "t",
    }
    async with gateway_process(tmp_path, environ=environ, env_file={}) as gateway:
        async with (
            ClientSession() as client,
            client.get(gateway.url + "/api/ext/acme.crm/orders") as answer,
        ):
            assert answer.status == 503
        await gateway.event("registry_unavailable", reason="connect_failed")
        gateway.send(signal.SIGTERM)
        assert await gateway.exit_status() == 0
