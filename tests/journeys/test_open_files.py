"""A gateway that has no room for another open file says so."""

import asyncio
import os
import resource
import sys
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.journeys.process import gateway_process
from tests.journeys.test_life import HELLO

HIDDEN = "raise ImportError\n"


@pytest.mark.skipif(sys.platform != "linux", reason="limits another process, and reads /proc")
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_a_full_table_of_open_files_is_told_once(
    tmp_path: Path, bundle_dir: Path, loop: str
) -> None:
    repository = str(Path(__file__).parents[2])
    if loop == "asyncio":
        (tmp_path / "uvloop.py").write_text(HIDDEN)
    environ = {
        "RUNNER_BUNDLE_DIR": str(bundle_dir),
        "PYTHONPATH": f"{tmp_path}:{repository}",
        "GATEWAY_PROBE_INTERVAL_MS": "60000",  # a probe opens a file, and would tell of it, too
    }
    async with (
        gateway_process(tmp_path, environ=environ, env_file={}) as gateway,
        ClientSession() as client,
    ):
        async with client.get(gateway.url + HELLO) as answer:
            assert answer.status == 200
        await gateway.event("backend_probed")
        limit = 20 + max(map(int, os.listdir(f"/proc/{gateway.pid}/fd")))
        resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (limit, limit))
        port = int(gateway.url.rpartition(":")[2])
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(limit)]
        assert (await gateway.event("open_files_exhausted"))["limit"] == limit
        # A scraper keeps its connection, as this client does.
        async with client.get(f"{gateway.url}/metrics") as answer:
            assert "\ngateway_open_files_exhausted 1.0\n" in await answer.text()
        await asyncio.sleep(2.5)  # looked at twice more
        for _, writer in held:
            writer.transport.abort()
        await gateway.event("open_files_available")
        async with ClientSession() as another, another.get(gateway.url + HELLO) as answer:
            assert answer.status == 200
        async with client.get(f"{gateway.url}/metrics") as answer:
            assert "\ngateway_open_files_exhausted 0.0\n" in await answer.text()
    told = [line for line in gateway.lines if line.get("level") in {"error", "warning"}]
    assert [line["event"] for line in told] == ["open_files_exhausted"]
