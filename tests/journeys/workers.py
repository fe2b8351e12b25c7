"""A gateway of two workers, and how to look at both of them."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, TCPConnector
from yarl import URL

from tests.fakes.runner import FakeRunner
from tests.journeys.process import GatewayProcess, gateway_process

TWO = {"GATEWAY_WORKERS": "2", "GATEWAY_PROBE_INTERVAL_MS": "100"}


@asynccontextmanager
async def two_workers(
    folder: Path, bundle_dir: Path, runner: FakeRunner, **more: str
) -> AsyncIterator[GatewayProcess]:
    """A gateway of two workers in front of `runner`, both of them ready."""
    env_file = settings_of(bundle_dir, runner) | more
    async with gateway_process(folder, environ=TWO, env_file=env_file) as gateway:
        for worker in range(2):
            await gateway.event("worker_started", worker=worker)
            await gateway.event("backend_probed", worker=worker, readiness="ready")
        yield gateway


def settings_of(bundle_dir: Path, runner: FakeRunner) -> dict[str, str]:
    """What its env file says."""
    return {"RUNNER_BUNDLE_DIR": str(bundle_dir), "RUNNER_BASE_URL": runner.url}


@asynccontextmanager
async def no_keep_alive() -> AsyncIterator[ClientSession]:
    """A client whose every call may reach another worker."""
    async with ClientSession(connector=TCPConnector(force_close=True)) as client:
        yield client


async def json_of(client: ClientSession, url: str, method: str = "GET") -> dict[str, Any]:
    """What is answered there."""
    async with client.request(method, url) as answer:
        document: dict[str, Any] = await answer.json(content_type=None)
        return document


async def pids_of(client: ClientSession, gateway: GatewayProcess) -> dict[int, int | None]:
    """The workers' process ids, as /readyz tells them."""
    document = await json_of(client, f"{gateway.url}/readyz")
    return {each["worker"]: each["pid"] for each in document["workers"]}


async def calls_counted(client: ClientSession, gateway: GatewayProcess) -> float:
    """How many handler calls /metrics says there were."""
    async with client.get(f"{gateway.url}/metrics") as answer:
        text = await answer.text()
    found = re.findall(r'^gateway_requests_total\{.*route="/api/ext/.*\} (\S+)$', text, re.M)
    return sum(map(float, found))


async def until_both_answered(gateway: GatewayProcess, client: ClientSession, path: str) -> None:
    """Call until both workers have answered on `path`."""
    async with asyncio.timeout(30):
        seen: set[int] = set()
        while seen != {0, 1}:
            request_id = os.urandom(8).hex()
            url = URL(gateway.url + path, encoded=True)
            async with client.get(url, headers={"x-request-id": request_id}):
                pass
            line = await gateway.event("request_answered", request_id=request_id)
            seen.add(line["worker"])
