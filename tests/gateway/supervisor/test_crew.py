"""A place among the workers is filled again, whatever a start fails for."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from gateway.supervisor import crew
from gateway.supervisor.crew import Crew
from gateway.supervisor.process import StartFailed, WorkerProcess


class Worker:
    """As the crew sees one; it serves at once, and ends when the test says so."""

    pid, served_s, is_serving = 1, 0.0, True
    end: Mapping[str, object] = {"status": -9}

    def __init__(self) -> None:
        self.serves, self.left, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.place = 0
        self.channel = self
        self.is_told, self.refuses = asyncio.Event(), asyncio.Event()

    def terminate(self) -> None:
        self.is_told.set()

    def tell(self, _verb: str, **_: object) -> None: ...

    async def until_serving(self) -> None:
        if self.is_told.is_set():
            await self.refuses.wait()
            raise StartFailed("worker_ended", {"status": -15}, {})

    async def kill(self) -> None:
        self.ended.set()
        self.left.set()


def crew_of(places: int) -> Crew:
    return Crew(
        [[]] * places,
        {},
        start_of=lambda *_: cast(Any, None),
        handle=cast(Any, None),
        on_end=lambda _: None,
    )


@pytest.mark.parametrize(
    "why",
    [
        StartFailed("worker_ended", {"status": 1}, {}),
        BlockingIOError(),
        # What the standard library says when a process has been started and the thread that is
        # to wait for its end cannot be (Python 3.11).
        RuntimeError("can't start new thread"),
    ],
)
async def test_a_place_is_filled_by_the_next_start_that_goes_well(
    why: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Worker(), Worker()
    outcomes = iter((first, why, why, second))
    is_filled = asyncio.Event()

    async def spawn(*_: Any) -> WorkerProcess:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is second:
            is_filled.set()
        return cast(WorkerProcess, outcome)

    monkeypatch.setattr(crew, "spawn", spawn)
    workers = crew_of(1)
    await workers.start()
    await first.kill()
    async with asyncio.timeout(20):
        await is_filled.wait()
    await workers.kill()


async def test_a_worker_whose_start_had_begun_before_a_stop_is_told_to_end_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # It would serve while the others drain, and then be killed with what it had taken on.
    lost, draining, late = Worker(), Worker(), Worker()
    draining.place = 1
    is_begun, may_go_on = asyncio.Event(), asyncio.Event()
    in_order = iter((lost, draining))

    async def spawn(*_: Any) -> WorkerProcess:
        if (one := next(in_order, None)) is not None:
            return cast(WorkerProcess, one)
        is_begun.set()
        await may_go_on.wait()
        return cast(WorkerProcess, late)

    monkeypatch.setattr(crew, "spawn", spawn)
    workers = crew_of(2)
    await workers.start()
    await lost.kill()
    await is_begun.wait()
    stopping = asyncio.create_task(workers.stop(within_s=30))
    await asyncio.sleep(0)
    may_go_on.set()
    async with asyncio.timeout(20):
        await late.is_told.wait()
    with capture_logs() as lines:
        late.refuses.set()
        await draining.kill()
        await stopping
    assert [line["event"] for line in lines] == []  # nothing has failed
