"""Guests in processes of their own: what dies with one of them, and what does not."""

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from structlog.testing import capture_logs

from backends.contract import ExecuteRequest, Readiness
from backends.errors import RunnerProtocolError, RunnerTimeout, RunnerUnreachable
from backends.guest_processes import place
from backends.guest_processes.backend import GuestProcessesBackend
from backends.guest_processes.process import (
    GuestProcess,
    ProcessNotStarted,
    ProcessTask,
    StartProcess,
)
from gateway.logs.tap import TAP, Watcher
from tests.backends.embedded import wat
from tests.backends.guest_processes.conftest import Asking, Opening

SOON_S = 30.0


async def _facts(backend: GuestProcessesBackend) -> list[dict[str, int | None]]:
    return cast(list[dict[str, int | None]], (await backend.metadata())["processes"])


async def _pids(backend: GuestProcessesBackend) -> list[int]:
    return [each["pid"] for each in await _facts(backend) if each["pid"] is not None]


async def _runs(pid: int) -> None:
    """Wait until the process is at work."""
    tenths = os.sysconf("SC_CLK_TCK") // 10
    before = _ticks(pid)
    async with asyncio.timeout(SOON_S):
        while _ticks(pid) < before + tenths:  # noqa: ASYNC110  nothing tells us
            await asyncio.sleep(0.02)


def _ticks(pid: int) -> int:
    """The processor time that it has used."""
    _, _, fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    user, system = fields.split()[11:13]
    return int(user) + int(system)


async def _calls(backend: GuestProcessesBackend, calls: int) -> None:
    """Wait until so many calls are under way."""
    async with asyncio.timeout(SOON_S):
        while backend.stats().connections_in_use < calls:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def _restarted(backend: GuestProcessesBackend, processes: int) -> None:
    """Wait until so many have ended and all run again."""
    async with asyncio.timeout(SOON_S):
        while True:
            facts = await _facts(backend)
            if sum(each["restarts"] or 0 for each in facts) >= processes and all(
                each["pid"] for each in facts
            ):
                return
            await asyncio.sleep(0.02)


async def _logged(watcher: Watcher) -> str:
    """The next line that a guest has written."""
    async with asyncio.timeout(SOON_S):
        while "guest_logged" not in (line := str(await watcher.lines.get())):
            pass
    return line


def _adjustment(process: int | str) -> int:
    return int(Path(f"/proc/{process}/oom_score_adj").read_text())


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_guest_runs_in_another_process_and_ends_with_the_backend(
    opening: Opening, asking: Asking
) -> None:
    backend = await opening(2)
    first, second = await _pids(backend)
    assert len({os.getpid(), first, second}) == 3
    result = await backend.execute(asking(wat.ECHO))
    assert (result.status, result.body, result.error) == (200, b"hi", None)
    await backend.aclose()
    assert not _is_there(first)
    assert not _is_there(second)
    with pytest.raises(RunnerUnreachable) as refused:
        await backend.execute(asking(wat.ECHO))
    assert refused.value.reason == "backend_closed"
    assert (await backend.health()).readiness is Readiness.DOWN


async def test_a_crash_takes_its_own_calls_with_it_and_no_others(
    opening: Opening, asking: Asking
) -> None:
    backend = await opening(2)
    endless = asking(wat.ENDLESS)
    lost, kept = (asyncio.create_task(backend.execute(endless)) for _ in range(2))
    await _calls(backend, 2)
    calls = await _facts(backend)
    assert [each["calls"] for each in calls] == [1, 1]  # the least busy one is next
    await _runs(calls[0]["pid"] or 0)  # a call that it had not accepted would be sent again
    with capture_logs() as lines:
        # As an engine that panics ends its process.
        os.kill(calls[0]["pid"] or 0, signal.SIGABRT)
        done, _ = await asyncio.wait(
            (lost, kept), timeout=SOON_S, return_when=asyncio.FIRST_COMPLETED
        )
        assert done == {lost}
        with pytest.raises(RunnerProtocolError):
            await lost
        # There is one left, which answers meanwhile.
        assert (await backend.execute(asking(wat.ECHO))).body == b"hi"
        assert (await backend.health()).readiness is Readiness.READY
        await _restarted(backend, 1)
    ended = [line for line in lines if line["event"] == "guest_process_ended"]
    assert [(line["place"], line["status"]) for line in ended] == [(0, -signal.SIGABRT)]
    assert not kept.done()
    kept.cancel()


async def test_one_that_hangs_is_ended_and_replaced(
    opening: Opening, asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "ASKED_EVERY_S", 0.05)
    monkeypatch.setattr(place, "SILENT_AFTER", 1)
    backend = await opening(1)
    (pid,) = await _pids(backend)
    call = asking(wat.ECHO)
    assert (await backend.execute(call)).status == 200  # leaves a connection open
    with capture_logs() as lines:
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(RunnerProtocolError):
            await backend.execute(call)
        assert (await backend.execute(call)).status == 200
    assert not _is_there(pid)
    events = [line["event"] for line in lines]
    assert events.index("guest_process_silent") < events.index("guest_process_ended")
    assert "detail" not in lines[events.index("guest_process_ended")]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux is told whom to end first")
async def test_where_memory_runs_out_it_goes_before_the_gateway_and_the_log_says_why(
    opening: Opening,
) -> None:
    backend = await opening(1)
    (pid,) = await _pids(backend)
    assert _adjustment(pid) == min(_adjustment("self") + 500, 1000)
    with capture_logs() as lines:
        os.kill(pid, signal.SIGKILL)  # as the system does
        await _restarted(backend, 1)
    (ended,) = (line for line in lines if line["event"] == "guest_process_ended")
    assert (ended["status"], "without memory" in ended["detail"]) == (-signal.SIGKILL, True)


async def test_calls_wait_for_a_process_when_none_is_left(opening: Opening, asking: Asking) -> None:
    backend = await opening(1)
    call = asking(wat.ECHO)
    (pid,) = await _pids(backend)
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(SOON_S):
        while await _pids(backend):  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert [(await backend.execute(call)).status for _ in range(3)] == [200] * 3
    assert await _pids(backend) != [pid]


async def test_what_cannot_be_started_again_is_tried_again_and_said(
    opening: Opening, asking: Asking, start_process: StartProcess
) -> None:
    # A machine that has no memory left for another process cannot be had for a test.
    fails = False
    tried: asyncio.Queue[None] = asyncio.Queue()

    async def start(task: ProcessTask) -> GuestProcess:
        if fails:
            tried.put_nowait(None)
            raise ProcessNotStarted
        return await start_process(task)

    backend = await opening(1, start)
    fails = True
    with capture_logs() as lines:
        os.kill((await _pids(backend))[0], signal.SIGKILL)
        async with asyncio.timeout(SOON_S):
            for _ in range(2):
                await tried.get()
    assert "guest_process_not_started" in {line["event"] for line in lines}
    health = await backend.health()
    assert (health.readiness, health.detail) == (Readiness.DOWN, "no_guest_process")
    with pytest.raises(RunnerUnreachable) as refused:
        await backend.execute(replace(asking(wat.ECHO), timeout_s=0.2))
    assert refused.value.reason == "no_guest_process"
    fails = False
    assert (await backend.execute(asking(wat.ECHO))).status == 200


@pytest.mark.parametrize("failure", [ProcessNotStarted, BlockingIOError])
async def test_one_that_does_not_start_leaves_none_behind(
    opening: Opening, start_process: StartProcess, failure: type[Exception]
) -> None:
    started: list[GuestProcess] = []

    async def start(task: ProcessTask) -> GuestProcess:
        if task.place == 1:
            raise failure
        started.append(await start_process(task))
        return started[-1]

    with pytest.raises(RunnerUnreachable) as refused:
        await opening(2, start)
    assert refused.value.reason == "guest_process_not_started"
    for process in started:
        assert not _is_there(process.pid)


async def test_a_folder_that_cannot_be_made_is_named_as_without_processes(
    opening: Opening, bundle_dir: Path
) -> None:
    await asyncio.to_thread(bundle_dir.touch)
    with pytest.raises(RunnerUnreachable) as refused:
        await opening(1)
    assert refused.value.reason == "bundle_dir_unusable"


async def test_a_key_is_one_run_whichever_process_ran_it(opening: Opening, asking: Asking) -> None:
    backend = await opening(2)
    call = asking(wat.calling_log_info(), "cap:log.emit", idempotency_key="once")
    last = replace(call, request_id="last", idempotency_key="another")
    with TAP.watching() as watcher:
        for _ in range(4):
            assert (await backend.execute(call)).status == 200
        os.kill((await _pids(backend))[0], signal.SIGKILL)
        await _restarted(backend, 1)
        for asked in (call, last):
            assert (await backend.execute(asked)).status == 200
        assert '"request_id":"r-1"' in await _logged(watcher)
        assert '"request_id":"last"' in await _logged(watcher)


async def test_a_call_ends_with_its_budget(opening: Opening, asking: Asking) -> None:
    backend = await opening(1)
    call: ExecuteRequest = asking(wat.ENDLESS, timeout_s=1.0)
    await backend.warm(call.context.content_hash)
    result = await backend.execute(call)
    assert (result.status, result.error) == (500, "execute_timeout")
    with pytest.raises(RunnerTimeout):
        await backend.execute(replace(call, timeout_s=0.2))


async def test_what_a_guest_logs_is_in_the_gateways_log(opening: Opening, asking: Asking) -> None:
    backend = await opening(1)
    with TAP.watching() as watcher:
        await backend.execute(asking(wat.calling_log_info(), "cap:log.emit"))
        assert '"guest_process":0' in await _logged(watcher)
