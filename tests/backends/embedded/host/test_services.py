"""Opening and closing what the host functions share."""

import asyncio
import os
from pathlib import Path

import pytest

from backends.embedded.host.call import Err
from backends.embedded.host.on_loop import Unanswered, run_on_loop
from backends.embedded.host.services import open_services
from backends.settings import EmbeddedSettings, HostApiSettings
from tests.backends.embedded.host.calls import ask, call_of


async def test_services_close_twice_and_then_answer_with_failures(tmp_path: Path) -> None:
    services = await open_services(EmbeddedSettings(bundle_dir=tmp_path / "new" / "folder"))
    await services.aclose()
    await services.aclose()
    assert await ask(call_of(services), "storage", "get", "n", "k") == Err("internal")


async def test_a_bad_allow_list_leaves_nothing_open(tmp_path: Path) -> None:
    settings = EmbeddedSettings(bundle_dir=tmp_path, egress_allowlist=("*",))
    with pytest.raises(ValueError, match="allow-list"):
        await open_services(settings)
    # SQLite removes its journal when the last connection is closed.
    assert os.listdir(tmp_path) == ["storage.sqlite3"]


async def test_with_a_host_application_there_is_no_file(tmp_path: Path) -> None:
    application = HostApiSettings(base_url="http://app.invalid", token="t")
    services = await open_services(EmbeddedSettings(bundle_dir=tmp_path, host_api=application))
    await services.aclose()
    assert os.listdir(tmp_path) == []


async def test_a_folder_that_cannot_be_used_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        await open_services(EmbeddedSettings(bundle_dir=tmp_path / "file"))


async def test_printed_services_show_no_token(tmp_path: Path) -> None:
    services = await open_services(EmbeddedSettings(bundle_dir=tmp_path))
    await services.aclose()
    assert "_undo" not in repr(services)


async def test_work_that_takes_too_long_is_cancelled() -> None:
    cancelled = asyncio.Event()

    async def wait_for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    loop = asyncio.get_running_loop()
    with pytest.raises(Unanswered):
        await asyncio.to_thread(run_on_loop, loop, wait_for_ever, 0.05)
    await cancelled.wait()


async def test_work_that_is_cancelled_from_elsewhere_is_unanswered() -> None:
    async def give_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(Unanswered):
        await asyncio.to_thread(run_on_loop, asyncio.get_running_loop(), give_up, 10.0)


async def test_the_works_own_error_passes_through() -> None:
    async def fail() -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await asyncio.to_thread(run_on_loop, asyncio.get_running_loop(), fail, 10.0)


@pytest.mark.parametrize("timeout_s", [10.0, 0.0])
def test_a_closed_loop_or_no_time_is_unanswered_at_once(timeout_s: float) -> None:
    async def work() -> None:
        raise AssertionError("must not run")

    loop = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(Unanswered):
        run_on_loop(loop, work, timeout_s)
