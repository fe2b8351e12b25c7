"""A reload is carried to its end, and leaves a receipt, whoever asked for it and whatever comes."""

import asyncio

import pytest

from gateway.generations.receipts import Receipt, Receipts
from gateway.reload import Reloader


class SlowAttempt:
    """Takes until the test says so.

    Attributes:
        is_undone: whether it was cancelled.
    """

    serving = (1, "knative")

    def __init__(self) -> None:
        self.has_begun, self.may_end = asyncio.Event(), asyncio.Event()
        self.is_undone = False

    async def run(self, receipt: Receipt) -> None:
        self.has_begun.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.is_undone = True
            raise
        receipt.outcome = "switched"

    async def aclose(self) -> None: ...


async def test_a_reload_does_not_stop_half_way_when_the_one_who_asked_is_gone() -> None:
    # As a worker that is killed while it waits for the answer: the others must not be left with
    # half a commit.
    attempt, receipts = SlowAttempt(), Receipts()
    is_noted = asyncio.Event()
    reloader = Reloader(attempt, receipts, on_receipt=is_noted.set)
    asking = asyncio.create_task(reloader.reload())
    await attempt.has_begun.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    attempt.may_end.set()
    async with asyncio.timeout(20):
        await is_noted.wait()
    assert not attempt.is_undone
    assert receipts.totals["switched"] == 1


async def test_a_stop_undoes_the_reload_that_runs_and_refuses_the_next() -> None:
    attempt, receipts = SlowAttempt(), Receipts()
    reloader = Reloader(attempt, receipts)
    first = asyncio.create_task(reloader.reload())
    await attempt.has_begun.wait()
    second = asyncio.create_task(reloader.reload())
    await asyncio.sleep(0)
    await reloader.aclose()
    assert attempt.is_undone
    assert [(await each).reason for each in (first, second)] == ["stopping", "stopping"]
    assert receipts.totals["refused"] == 2
