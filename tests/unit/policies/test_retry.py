"""The wait before a retry: it grows by the factor, chance spreads it, and the provider has the last word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.calling import Jitter
from core.policies.retry import LONGEST_RETRY_AFTER_S, RetryPolicy, delay, longest_delay

ALMOST_ONE = 1 - 2**-53

chances = st.floats(0, 1, exclude_max=True)
shortening = st.sampled_from([Jitter.FULL, Jitter.EQUAL, Jitter.NONE])
policies = st.builds(
    RetryPolicy,
    initial_delay_s=st.floats(0, 60),
    factor=st.floats(1, 10),
    max_delay_s=st.floats(0.001, 600),
)


def test_the_longest_waits_double_up_to_the_cap() -> None:
    policy = RetryPolicy(initial_delay_s=10, factor=2.0, max_delay_s=60)

    assert [longest_delay(policy, retry) for retry in (1, 2, 3, 4, 5)] == [10, 20, 40, 60, 60]


def test_by_default_the_longest_wait_is_half_a_second_at_first_and_a_minute_at_most() -> None:
    assert [longest_delay(RetryPolicy(), retry) for retry in (1, 2, 3)] == [0.5, 1.0, 2.0]
    assert longest_delay(RetryPolicy(), 10) == 60
    assert RetryPolicy().max_retries == 3
    assert RetryPolicy().jitter is Jitter.FULL


def test_a_retry_number_that_overflows_still_waits_the_cap() -> None:
    assert longest_delay(RetryPolicy(), 100_000) == 60


def test_retries_are_counted_from_one() -> None:
    with pytest.raises(ValueError, match=r"^Retries are counted from 1\.$"):
        longest_delay(RetryPolicy(), 0)


@pytest.mark.parametrize(
    ("jitter", "waits"),
    [
        (Jitter.FULL, [0, 2, 4]),
        (Jitter.EQUAL, [2, 3, 4]),
        (Jitter.DECORRELATED, [2, 11, 20]),
        (Jitter.NONE, [4, 4, 4]),
    ],
)
def test_each_kind_of_jitter_spreads_the_wait_in_its_own_bounds(jitter: Jitter, waits: list[float]) -> None:
    """Before the second retry, after a wait of 20/3 seconds before the first; no chance, a medium one, and almost all."""
    policy = RetryPolicy(initial_delay_s=2, factor=2.0, max_delay_s=60, jitter=jitter)

    drawn = [delay(policy, 2, chance, last=20 / 3) for chance in (0.0, 0.5, ALMOST_ONE)]

    assert drawn == pytest.approx(waits)


@pytest.mark.parametrize(("chance", "wait"), [(0.0, 2), (0.5, 4), (ALMOST_ONE, 6)])
def test_the_first_decorrelated_wait_is_between_the_initial_one_and_three_times_that(
    chance: float, wait: float
) -> None:
    policy = RetryPolicy(initial_delay_s=2, jitter=Jitter.DECORRELATED)

    assert delay(policy, 1, chance) == pytest.approx(wait)


@given(policy=policies, retry=st.integers(1, 10), chance=chances)
def test_a_full_jitter_takes_anything_up_to_the_longest_wait(
    policy: RetryPolicy, retry: int, chance: float
) -> None:
    assert delay(policy, retry, chance) == chance * longest_delay(policy, retry)


@given(
    policy=st.builds(
        RetryPolicy,
        initial_delay_s=st.floats(0, 60),
        max_delay_s=st.floats(0.001, 600),
        jitter=st.just(Jitter.DECORRELATED),
    ),
    draws=st.lists(chances, max_size=12),
)
def test_decorrelated_waits_stay_between_the_initial_wait_and_the_cap_and_at_most_triple(
    policy: RetryPolicy, draws: list[float]
) -> None:
    least, last = min(policy.initial_delay_s, policy.max_delay_s), 0.0
    for retry, chance in enumerate(draws, 1):
        wait = delay(policy, retry, chance, last=last)

        assert least <= wait <= policy.max_delay_s
        assert wait <= max(least, (last or least) * 3) * (1 + 1e-12)  # but for rounding
        last = wait


@pytest.mark.property(19)
@given(
    policy=policies,
    jitter=shortening,
    retry=st.integers(1, 10),
    chance=chances,
    retry_after=st.none() | st.floats(0, 1000),
)
def test_jitter_only_shortens_and_retry_after_only_lengthens(
    policy: RetryPolicy, jitter: Jitter, retry: int, chance: float, retry_after: float | None
) -> None:
    policy = RetryPolicy(3, policy.initial_delay_s, policy.factor, policy.max_delay_s, jitter)

    wait = delay(policy, retry, chance, retry_after)

    longest = longest_delay(policy, retry)
    assert longest <= longest_delay(policy, retry + 1) <= policy.max_delay_s
    assert wait >= (retry_after or 0.0)
    assert wait <= max(longest, retry_after or 0.0)
    if jitter is Jitter.EQUAL:
        assert wait >= longest / 2


@pytest.mark.parametrize(
    ("retry_after", "wait"),
    [
        (None, 4),
        (-1.0, 4),
        (0.0, 4),
        (3.9, 4),
        (4.1, 4.1),
        (3600.0, 3600),
        (3600.1, 3600),
        (float("inf"), 3600),
    ],
)
def test_a_retry_after_is_a_floor_and_taken_for_an_hour_at_most(
    retry_after: float | None, wait: float
) -> None:
    policy = RetryPolicy(initial_delay_s=4, jitter=Jitter.NONE)

    assert delay(policy, 1, 0.5, retry_after) == wait
    assert LONGEST_RETRY_AFTER_S == 3600
