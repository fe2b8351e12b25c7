"""What a pod is made of besides its queue-proxy: a runner, in this process or in its own."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from tests.fakes.runner import FakeRunner

_START_S: Final = 30.0
_STOP_S: Final = 10.0

OpenRunner = Callable[[], AbstractAsyncContextManager[str]]
"""Starts a runner, yields its address, stops it."""


def fake_pod(runner: FakeRunner) -> OpenRunner:
    """Pods that all run the same fake runner, which is the caller's to start and stop."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[str]:
        yield runner.url

    return opened


def real_runner() -> AbstractAsyncContextManager[str]:
    """`python -m gateway runner` in a process of its own, with the settings of this one."""
    return _process({})


def real_runner_with(**environ: str) -> OpenRunner:
    """Pods that run the real runner with these variables beside those of this process."""
    return lambda: _process(environ)


@asynccontextmanager
async def _process(environ: Mapping[str, str]) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "runner", "--host", "127.0.0.1", "--port", "0"),
        env={**os.environ, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(_START_S):
            line = (await process.stdout.readline()).decode()
        where = re.search(r"http://\S+", line)
        if where is None:
            raise RuntimeError("the runner did not start")
        yield where[0]
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(_STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
