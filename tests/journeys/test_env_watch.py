"""A pod whose ConfigMap was edited: the file changes under it, and nobody sends a signal."""

from pathlib import Path

import pytest

from tests.fakes.runner import FakeRunner
from tests.journeys.process import gateway_process


def mount(folder: Path, number: int, text: str) -> None:
    """Put the file there as a kubelet does: a folder with a new name, and one link moved to it."""
    content = folder / f"..{number}"
    content.mkdir()
    (content / "gateway.env").write_text(text)
    link = folder / "..data.new"
    link.symlink_to(content.name)
    link.replace(folder / "..data")


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_an_edited_mount_is_taken_over_as_if_by_signal(tmp_path: Path, workers: str) -> None:
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    async with FakeRunner() as first, FakeRunner() as second:

        def settings(runner: FakeRunner) -> str:
            return f"RUNNER_BACKEND=knative\nRUNNER_BASE_URL={runner.url}\n"

        mount(mounted, 1, settings(first))
        (mounted / "gateway.env").symlink_to("..data/gateway.env")
        environ = {
            "GATEWAY_ENV_FILE": str(mounted / "gateway.env"),
            "GATEWAY_ENV_WATCH_MS": "50",
            "GATEWAY_WORKERS": workers,
        }
        async with gateway_process(tmp_path, environ=environ, env_file={}) as gateway:
            mount(mounted, 2, settings(second))
            await gateway.event("env_file_changed")
            swapped = await gateway.event("backend_swapped", trigger="signal")
            assert swapped["generation"] == 2
