"""Which guests may begin on the event loop's thread."""

import pytest

from backends.embedded.pace import TURN_S, Pace

SHORT_S = TURN_S / 10


def calls_in_a_thread(pace: Pace) -> int:
    calls = 0
    while not pace.is_short:
        pace.ran_in_a_thread(SHORT_S)
        calls += 1
    return calls


def test_a_new_guest_shows_first_in_a_thread_that_it_is_short() -> None:
    pace = Pace()
    pace.ran_in_a_thread(TURN_S * 2)
    assert not pace.is_short
    assert calls_in_a_thread(pace) == 1


def test_short_calls_stay_on_the_loop() -> None:
    pace = Pace()
    calls_in_a_thread(pace)
    for _ in range(1_000):
        pace.held_the_loop(SHORT_S)
    assert pace.is_short


@pytest.mark.parametrize(("over_s", "calls"), [(0.000_05, 1), (0.01, 100), (1.0, 10_000)])
def test_the_longer_a_guest_held_the_loop_the_longer_it_stays_away(
    over_s: float, calls: int
) -> None:
    pace = Pace()
    calls_in_a_thread(pace)
    pace.held_the_loop(TURN_S + over_s)
    assert calls_in_a_thread(pace) == pytest.approx(calls, abs=1)


def test_short_calls_are_not_saved_up_for_a_long_one() -> None:
    pace = Pace()
    for _ in range(1_000):
        pace.ran_in_a_thread(SHORT_S)
    pace.held_the_loop(SHORT_S)
    pace.held_the_loop(TURN_S + 0.01)
    assert not pace.is_short


def test_long_calls_in_a_thread_pay_nothing() -> None:
    pace = Pace()
    for _ in range(10):
        pace.ran_in_a_thread(TURN_S * 2)
    assert not pace.is_short
