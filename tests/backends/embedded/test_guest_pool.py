"""The threads of guests are there before the first call, or the backend does not open."""

import asyncio
import threading
from pathlib import Path

import pytest

from backends.contract import ExecuteContext, ExecuteRequest, Limits
from backends.embedded import backend as backend_module
from backends.embedded.backend import EmbeddedBackend
from backends.embedded.host.services import HostServices
from backends.errors import RunnerUnreachable
from backends.settings import EmbeddedSettings
from tests.backends.embedded import wat

SIZE = 3


@pytest.fixture
def settings(tmp_path: Path) -> EmbeddedSettings:
    return EmbeddedSettings(bundle_dir=tmp_path / "bundles", max_concurrency=SIZE)


def start_guest_threads(monkeypatch: pytest.MonkeyPatch, *, at_most: int) -> None:
    """Have the system at its limit of threads, which a test cannot lower for itself alone."""
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("guest_"):
            if len(started) == at_most:
                raise RuntimeError("can't start new thread")
            started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)


async def test_no_call_needs_a_thread_that_has_to_be_started(
    settings: EmbeddedSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = await EmbeddedBackend.open(settings)
    start_guest_threads(monkeypatch, at_most=0)
    said = ExecuteRequest(
        request_id="r-1",
        context=ExecuteContext(
            tenant_id="t1",
            extension_id="e1",
            content_hash=wat.install(settings.bundle_dir, wat.ECHO),
        ),
        method="GET",
        path="/x",
        limits=Limits(timeout_ms=20_000),
        timeout_s=30.0,
    )
    for _ in range(SIZE + 1):  # a call that kept its place would be one too many
        assert (await backend.execute(said)).status == 200
    await backend.aclose()


async def test_without_threads_for_guests_it_does_not_open(
    settings: EmbeddedSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_guest_threads(monkeypatch, at_most=SIZE - 1)
    with pytest.raises(RunnerUnreachable, match="no_threads"):
        await EmbeddedBackend.open(settings)
    left = [each for each in threading.enumerate() if each.name.startswith("guest")]
    for each in left:
        each.join(20)
    assert not [each.name for each in left if each.is_alive()]


async def test_an_open_that_is_given_up_leaves_no_thread_behind(
    settings: EmbeddedSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def opening(_: EmbeddedSettings) -> HostServices:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(backend_module, "open_services", opening)
    before = set(threading.enumerate())
    task = asyncio.create_task(EmbeddedBackend.open(settings))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    left = set(threading.enumerate()) - before
    assert not [each.name for each in left if each.name.startswith("guest")]
