"""A breaker opens on volume, not on bad luck, and closes by asking, not by hoping."""

import asyncio

import pytest

from backends.errors import (
    BackendError,
    Phase,
    RunnerOverloaded,
    RunnerProtocolError,
    RunnerTimeout,
    RunnerUnreachable,
)
from backends.knative_path.breaker import MIN_CALLS, OPEN_S, WINDOW_S, Breaker, Circuit
from tests.clock import Clock

REFUSED = RunnerUnreachable("connection_refused")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock=clock)


def circuit(breaker: Breaker) -> Circuit:
    return breaker.circuit


def fail(breaker: Breaker, failure: BaseException = REFUSED) -> None:
    with pytest.raises(type(failure)), breaker.call():
        raise failure


def trip(breaker: Breaker) -> None:
    for _ in range(MIN_CALLS):
        fail(breaker)


def test_a_few_failures_open_nothing(breaker: Breaker) -> None:
    for _ in range(MIN_CALLS - 1):
        fail(breaker)
    assert circuit(breaker) is Circuit.CLOSED


def test_enough_failures_open_it_and_callers_are_told_when_to_come_back(breaker: Breaker) -> None:
    trip(breaker)
    with pytest.raises(RunnerUnreachable, match="circuit_open") as caught:
        breaker.call()
    assert caught.value.phase is Phase.ADMIT
    assert caught.value.retry_after_s >= 1


def test_more_successes_than_failures_keep_it_closed(breaker: Breaker) -> None:
    for _ in range(MIN_CALLS):
        with breaker.call():
            pass
        with breaker.call():
            pass
        fail(breaker)
    assert circuit(breaker) is Circuit.CLOSED


def test_failures_of_long_ago_do_not_count(breaker: Breaker, clock: Clock) -> None:
    for _ in range(MIN_CALLS - 1):
        fail(breaker)
    clock.now += WINDOW_S + 1
    fail(breaker)
    assert circuit(breaker) is Circuit.CLOSED


@pytest.mark.parametrize(
    "failure",
    [
        RunnerTimeout(phase=Phase.FIRST_BYTE),
        RunnerProtocolError("bad_envelope", phase=Phase.BODY),
        RunnerOverloaded("queue_full", phase=Phase.FIRST_BYTE),
        RunnerUnreachable("token_expired", phase=Phase.ADMIT),
        asyncio.CancelledError(),
    ],
)
def test_a_runner_that_was_reached_is_no_reason_to_stop_asking(
    breaker: Breaker, failure: BackendError
) -> None:
    for _ in range(3 * MIN_CALLS):
        fail(breaker, failure)
    assert circuit(breaker) is Circuit.CLOSED


def test_one_probe_at_a_time_and_its_success_closes_it(breaker: Breaker, clock: Clock) -> None:
    trip(breaker)
    clock.now += OPEN_S[0]
    assert circuit(breaker) is Circuit.HALF_OPEN
    with breaker.call(), pytest.raises(RunnerUnreachable, match="circuit_open"):
        breaker.call()
    assert circuit(breaker) is Circuit.CLOSED


def test_a_failed_probe_opens_it_for_twice_as_long(breaker: Breaker, clock: Clock) -> None:
    trip(breaker)
    clock.now += OPEN_S[0]
    fail(breaker)
    clock.now += OPEN_S[0]
    assert circuit(breaker) is Circuit.OPEN
    clock.now += OPEN_S[0]
    assert circuit(breaker) is Circuit.HALF_OPEN


def test_a_probe_whose_caller_left_makes_way_for_another(breaker: Breaker, clock: Clock) -> None:
    trip(breaker)
    clock.now += OPEN_S[0]
    fail(breaker, asyncio.CancelledError())
    with breaker.call():
        pass
    assert circuit(breaker) is Circuit.CLOSED


def test_a_probe_that_takes_its_time_does_not_keep_the_others_out(
    breaker: Breaker, clock: Clock
) -> None:
    trip(breaker)
    clock.now += OPEN_S[0]
    slow = breaker.call()  # and no word of it yet
    clock.now += OPEN_S[0]
    with breaker.call():
        pass
    assert circuit(breaker) is Circuit.CLOSED
    with pytest.raises(RunnerUnreachable), slow:  # late news, of one call among many
        raise REFUSED
    assert circuit(breaker) is Circuit.CLOSED


def test_probes_that_are_under_way_at_once_double_its_time_once(
    breaker: Breaker, clock: Clock
) -> None:
    trip(breaker)
    slow = []
    for _ in range(5):
        clock.now += OPEN_S[0]
        slow.append(breaker.call())
    for each, failure in zip(slow, [REFUSED] * 4 + [asyncio.CancelledError()], strict=True):
        with pytest.raises(type(failure)), each:
            raise failure
    clock.now += OPEN_S[0]
    assert circuit(breaker) is Circuit.OPEN
    clock.now += OPEN_S[0]
    assert circuit(breaker) is Circuit.HALF_OPEN
