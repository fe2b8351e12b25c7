"""A key names one run within its tenant: duplicates share the answer and nothing else does."""

import asyncio
from dataclasses import replace

import pytest

from backends.contract import ExecuteContext, ExecuteRequest, ExecuteResult, Limits, User
from backends.embedded.idempotency import IdempotentRuns
from backends.errors import RunnerProtocolError, RunnerTimeout, RunnerUnreachable

CONTEXT = ExecuteContext(
    tenant_id="t1", extension_id="e1", content_hash="sha256:" + "a" * 64, install_id="i1"
)
REQUEST = ExecuteRequest(
    request_id="r",
    context=CONTEXT,
    method="POST",
    path="/orders",
    body=b"one",
    limits=Limits(timeout_ms=1_000),
    timeout_s=30.0,
    idempotency_key="k1",
)


class Guest:
    """Counts its runs; each waits until it may answer."""

    def __init__(self, answer: ExecuteResult | Exception | None = None) -> None:
        self.runs = 0
        self.began = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._answer = answer

    async def __call__(self) -> ExecuteResult:
        self.runs += 1
        self.began.set()
        await self.may_answer.wait()
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer or ExecuteResult(status=200, body=str(self.runs).encode())


async def test_a_second_call_with_the_same_key_gets_the_first_answer() -> None:
    runs, guest = IdempotentRuns(), Guest()
    first = await runs.run(REQUEST, guest)
    assert await runs.run(replace(REQUEST, request_id="another"), guest) is first
    assert guest.runs == 1


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, idempotency_key="k2"),
        replace(REQUEST, method="PUT"),
        replace(REQUEST, path="/invoices"),
        replace(REQUEST, context=replace(CONTEXT, tenant_id="t2")),
        replace(REQUEST, context=replace(CONTEXT, extension_id="e2")),
        replace(REQUEST, context=replace(CONTEXT, install_id=None)),
        replace(REQUEST, user=User(user_id="u", user_email="", user_name="", user_type="")),
    ],
)
async def test_nobody_gets_an_answer_that_was_meant_for_another(other: ExecuteRequest) -> None:
    runs, guest = IdempotentRuns(), Guest()
    await runs.run(REQUEST, guest)
    assert (await runs.run(other, guest)).body == b"2"


@pytest.mark.parametrize(
    "other", [replace(REQUEST, idempotency_key=None), replace(REQUEST, idempotency_key="")]
)
async def test_without_a_key_every_call_runs(other: ExecuteRequest) -> None:
    runs, guest = IdempotentRuns(), Guest()
    await runs.run(other, guest)
    await runs.run(other, guest)
    assert guest.runs == 2


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_safe_method_always_runs(method: str) -> None:
    runs, guest = IdempotentRuns(), Guest()
    for _ in range(2):
        await runs.run(replace(REQUEST, method=method), guest)
    assert guest.runs == 2


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, body=b"two"),
        replace(REQUEST, body=None),
        replace(REQUEST, query=(("q", "1"),)),
    ],
)
async def test_a_key_reused_for_something_else_is_refused(other: ExecuteRequest) -> None:
    runs, guest = IdempotentRuns(), Guest()
    await runs.run(REQUEST, guest)
    refused = await runs.run(other, guest)
    assert (refused.status, refused.error) == (422, "idempotency_key_reused")
    assert guest.runs == 1


async def test_duplicates_that_come_together_share_one_run() -> None:
    runs, guest = IdempotentRuns(), Guest()
    guest.may_answer.clear()
    calls = [asyncio.create_task(runs.run(REQUEST, guest)) for _ in range(5)]
    await guest.began.wait()
    guest.may_answer.set()
    assert [(await call).body for call in calls] == [b"1"] * 5


async def test_the_first_caller_going_away_leaves_the_run_to_the_others() -> None:
    runs, guest = IdempotentRuns(), Guest()
    guest.may_answer.clear()
    first = asyncio.create_task(runs.run(REQUEST, guest))
    second = asyncio.create_task(runs.run(REQUEST, guest))
    await guest.began.wait()
    first.cancel()
    await asyncio.wait({first})
    guest.may_answer.set()
    assert first.cancelled()
    assert (await second).body == b"1"


async def test_a_caller_that_comes_back_learns_how_its_run_ended() -> None:
    runs, guest = IdempotentRuns(), Guest()
    guest.may_answer.clear()
    first = asyncio.create_task(runs.run(REQUEST, guest))
    await guest.began.wait()
    first.cancel()
    await asyncio.wait({first})
    guest.may_answer.set()
    assert (await runs.run(REQUEST, guest)).body == b"1"


async def test_a_duplicate_waits_no_longer_than_its_own_budget() -> None:
    runs, guest = IdempotentRuns(), Guest()
    guest.may_answer.clear()
    first = asyncio.create_task(runs.run(REQUEST, guest))
    await guest.began.wait()
    with pytest.raises(RunnerTimeout):
        await runs.run(replace(REQUEST, timeout_s=0.0), guest)
    guest.may_answer.set()
    assert (await first).status == 200


async def test_a_failure_is_not_remembered() -> None:
    runs, guest = IdempotentRuns(), Guest(ExecuteResult(status=500, error="execute_trapped"))
    for _ in range(2):
        assert (await runs.run(REQUEST, guest)).error == "execute_trapped"
    assert guest.runs == 2
    assert len(runs) == 0


async def test_an_error_of_the_backend_reaches_every_caller_and_is_not_remembered() -> None:
    runs, guest = IdempotentRuns(), Guest(RunnerUnreachable("closed"))
    calls = [runs.run(REQUEST, guest) for _ in range(3)]
    raised = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(error) for error in raised} == {RunnerUnreachable}
    assert guest.runs == 1
    assert len(runs) == 0


async def test_an_error_that_the_guest_itself_answers_is_remembered() -> None:
    runs, guest = IdempotentRuns(), Guest(ExecuteResult(status=500, body=b"the guest's own"))
    for _ in range(2):
        assert (await runs.run(REQUEST, guest)).status == 500
    assert guest.runs == 1


async def test_an_answer_is_forgotten_after_its_time() -> None:
    now = 0.0
    runs, guest = IdempotentRuns(ttl_s=600.0, clock=lambda: now), Guest()
    await runs.run(REQUEST, guest)
    now = 599.0
    await runs.run(REQUEST, guest)
    assert guest.runs == 1
    now = 600.0
    await runs.run(REQUEST, guest)
    assert guest.runs == 2


async def test_entries_and_bytes_are_bounded_and_the_oldest_answers_go_first() -> None:
    large = ExecuteResult(status=200, body=b"x" * 4_000)
    for runs in (IdempotentRuns(max_entries=3), IdempotentRuns(max_bytes=3 * 5_100)):
        guest = Guest(large)
        for number in range(5):
            await runs.run(replace(REQUEST, idempotency_key=str(number)), guest)
        assert len(runs) == 3
        await runs.run(replace(REQUEST, idempotency_key="4"), guest)
        assert guest.runs == 5
        await runs.run(replace(REQUEST, idempotency_key="0"), guest)
        assert guest.runs == 6


async def test_an_answer_larger_than_the_whole_memory_is_given_and_not_kept() -> None:
    runs, small = IdempotentRuns(max_bytes=1_500), Guest()
    large = Guest(ExecuteResult(status=200, body=b"x" * 999))
    await runs.run(REQUEST, small)
    for _ in range(2):
        await runs.run(replace(REQUEST, idempotency_key="large"), large)
    await runs.run(REQUEST, small)
    assert (small.runs, large.runs) == (1, 2)


async def test_long_bodies_are_told_apart_as_well() -> None:
    runs, guest = IdempotentRuns(), Guest()
    long = bytes(300_000)
    await runs.run(replace(REQUEST, body=long), guest)
    assert (await runs.run(replace(REQUEST, body=long + b"x"), guest)).status == 422
    assert (await runs.run(replace(REQUEST, body=long), guest)).body == b"1"


async def test_closing_ends_the_runs_and_tells_their_callers() -> None:
    runs, guest = IdempotentRuns(), Guest()
    guest.may_answer.clear()
    call = asyncio.create_task(runs.run(REQUEST, guest))
    await guest.began.wait()
    await runs.aclose()
    with pytest.raises(RunnerProtocolError):
        await call
    assert len(runs) == 0
