"""Signed tenants, and what becomes of them when their key is replaced."""

import time

import pytest

from gateway.callers.ui_tenants import CLOCK_SKEW_S, GRACE_S, LIFETIME_S, UiTenants
from tests.clock import Clock

OLD, NEW = "the-first-proxy-key", "the-second-proxy-key"
BUNDLE = ("registry-1", "sha256:" + "ab" * 32)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tenants(clock: Clock) -> UiTenants:
    return UiTenants(OLD, clock=clock)


@pytest.mark.parametrize("key", [NEW, None], ids=["replaced", "taken away"])
def test_what_an_old_key_has_signed_counts_for_a_little_while(
    tenants: UiTenants, clock: Clock, key: str | None
) -> None:
    value = tenants.sign("t-1", *BUNDLE)
    tenants.follow(key)
    clock.now += GRACE_S - 1
    assert tenants.verify(value, *BUNDLE) == "t-1"
    assert tenants.verify(tenants.sign("t-1", *BUNDLE), *BUNDLE) == "t-1"
    clock.now += 1
    tenants.follow("yet-another-proxy-key")  # forgets what was believed, not what was replaced
    assert tenants.verify(value, *BUNDLE) is None


def test_what_is_believed_on_an_old_keys_word_is_not_believed_for_longer(
    tenants: UiTenants, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = tenants.sign("t-1", *BUNDLE)
    tenants.follow(NEW)
    assert tenants.verify(value, *BUNDLE) == "t-1"
    clock.now += GRACE_S
    then = time.time() + GRACE_S
    monkeypatch.setattr(time, "time", lambda: then)
    assert tenants.verify(value, *BUNDLE) is None


def test_what_an_old_key_signs_afterwards_does_not_count(
    tenants: UiTenants, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_minute_ago = time.time() - 60
    with monkeypatch.context() as then:
        then.setattr(time, "time", lambda: a_minute_ago)
        before = tenants.sign("t-1", *BUNDLE)
        tenants.follow(NEW)
    afterwards = UiTenants(OLD).sign("t-1", *BUNDLE)
    assert tenants.verify(before, *BUNDLE) == "t-1"
    assert tenants.verify(afterwards, *BUNDLE) is None


@pytest.mark.parametrize(
    ("age_s", "believed"),
    [
        (LIFETIME_S - 1, True),
        (LIFETIME_S + 2, False),
        # Signed by a replica whose clock is ahead, or before this one's was set back.
        (-1, True),
        (-CLOCK_SKEW_S + 1, True),
        (-CLOCK_SKEW_S - 2, False),
    ],
)
def test_a_value_counts_from_a_little_before_it_was_signed_to_the_end_of_its_life(
    tenants: UiTenants, monkeypatch: pytest.MonkeyPatch, age_s: int, believed: bool
) -> None:
    signed_at = time.time() - age_s
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(time, "time", lambda: signed_at)
        value = tenants.sign("t-1", *BUNDLE)
    assert tenants.verify(value, *BUNDLE) == ("t-1" if believed else None)


def test_what_was_remembered_ends_with_the_key_that_vouched_for_it(
    tenants: UiTenants, clock: Clock
) -> None:
    tenants.remember("t-1", *BUNDLE)
    tenants.follow(NEW)
    assert tenants.remembered(*BUNDLE) == "t-1"
    clock.now += GRACE_S
    assert tenants.remembered(*BUNDLE) is None


def test_without_a_key_every_reload_leaves_what_was_signed(
    clock: Clock,
) -> None:
    tenants = UiTenants(None, clock=clock)
    value = tenants.sign("t-1", *BUNDLE)
    tenants.follow(None)
    clock.now += 2 * GRACE_S
    assert tenants.verify(value, *BUNDLE) == "t-1"
