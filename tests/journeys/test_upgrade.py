"""The program is replaced by another instance while clients call: nobody is turned away."""

import os
import signal
from pathlib import Path

from aiohttp import ClientSession

from tests.fakes.runner import FakeRunner
from tests.journeys.load import HELLO, load_on
from tests.journeys.process import gateway_process


async def test_a_hand_over_under_load_refuses_no_connection(
    tmp_path: Path, bundle_dir: Path
) -> None:
    async with FakeRunner() as runner:
        env_file = {"RUNNER_BUNDLE_DIR": str(bundle_dir), "RUNNER_BASE_URL": runner.url}
        async with gateway_process(tmp_path, environ={}, env_file=env_file) as gateway:
            await gateway.event("backend_probed")
            async with load_on(gateway.url) as load:
                await load.more(200)
                gateway.send(signal.SIGUSR2)
                successor = (await gateway.event("handed_over"))["successor"]
                assert await gateway.exit_status() == 0
                await load.more(200)
            os.kill(successor, signal.SIGTERM)
    assert not load.failures
    assert set(load.answers) == {200}


async def test_a_successor_that_cannot_start_changes_nothing(
    tmp_path: Path, bundle_dir: Path
) -> None:
    env_file = {"RUNNER_BUNDLE_DIR": str(bundle_dir)}
    async with (
        gateway_process(tmp_path, environ={}, env_file=env_file) as gateway,
        ClientSession() as client,
    ):
        gateway.write_env(**env_file, RUNNER_BACKEND="dokcer")
        gateway.send(signal.SIGUSR2)
        failed = await gateway.event("hand_over_failed")
        assert failed["error"] == "successor_ended"
        async with client.get(gateway.url + HELLO) as answer:
            assert answer.status == 200
