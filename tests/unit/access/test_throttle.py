"""The waits after failed sign-ins."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.access.throttle import MEMORY, OF_ACCOUNT, OF_ADDRESS, Throttle
from tests.fakes import NOON

rules = st.sampled_from([OF_ACCOUNT, OF_ADDRESS])


@given(rules, st.integers(min_value=0, max_value=10_000))
def test_more_failures_never_mean_a_shorter_wait_and_no_wait_is_for_good(
    rule: Throttle, failures: int
) -> None:
    assert rule.wait_after(failures) <= rule.wait_after(failures + 1) <= timedelta(minutes=15)


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0), (4, 0), (5, 30), (6, 60), (9, 480), (10, 900), (99, 900)]
)
def test_the_wait_of_an_account_doubles_from_half_a_minute(failures: int, seconds: int) -> None:
    assert OF_ACCOUNT.wait_after(failures) == timedelta(seconds=seconds)


@given(st.lists(st.integers(min_value=1, max_value=1_200), min_size=1, max_size=400))
def test_nobody_tries_more_than_ten_passwords_of_an_account_in_a_quarter_of_an_hour(gaps: list[int]) -> None:
    """Whatever the rhythm of the tries is."""
    now, counted = NOON, [NOON]
    for gap in gaps:
        now += timedelta(seconds=gap)
        remembered = [at for at in counted if at > now - MEMORY]
        if not OF_ACCOUNT.wait_left(remembered, now):
            counted.append(now)

    for at in counted:
        assert sum(at <= other < at + timedelta(minutes=15) for other in counted) <= 10


def test_the_wait_is_over_exactly_at_its_end() -> None:
    failures = [NOON] * 5

    assert OF_ACCOUNT.wait_left(failures, NOON + timedelta(seconds=29)) == timedelta(seconds=1)
    assert OF_ACCOUNT.wait_left(failures, NOON + timedelta(seconds=30)) == timedelta(0)


def test_a_clock_that_was_set_back_does_not_lengthen_the_wait() -> None:
    assert OF_ACCOUNT.wait_left([NOON] * 5, NOON - timedelta(hours=3)) == timedelta(seconds=30)
