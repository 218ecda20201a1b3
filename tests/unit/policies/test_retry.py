"""The wait before a retry: it grows by the factor, chance only shortens it, and the provider has the last word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.policies.retry import RetryPolicy, delay, longest_delay


def test_the_longest_waits_double_up_to_the_cap() -> None:
    policy = RetryPolicy(initial_delay_s=10, factor=2.0, max_delay_s=60)

    assert [longest_delay(policy, retry) for retry in (1, 2, 3, 4, 5)] == [10, 20, 40, 60, 60]


def test_a_retry_number_that_overflows_still_waits_the_cap() -> None:
    assert longest_delay(RetryPolicy(), 100_000) == 60


def test_retries_are_counted_from_one() -> None:
    with pytest.raises(ValueError, match="from 1"):
        longest_delay(RetryPolicy(), 0)


@pytest.mark.property(19)
@given(
    retry=st.integers(1, 10),
    chance=st.floats(0, 0.999),
    retry_after=st.one_of(st.none(), st.floats(0, 1000)),
    factor=st.floats(1, 10),
    initial=st.floats(0, 60),
)
def test_jitter_only_shortens_and_retry_after_only_lengthens(
    retry: int, chance: float, retry_after: float | None, factor: float, initial: float
) -> None:
    policy = RetryPolicy(initial_delay_s=initial, factor=factor)

    wait = delay(policy, retry, chance, retry_after)

    assert longest_delay(policy, retry) <= longest_delay(policy, retry + 1) <= 60
    assert wait >= (retry_after or 0.0)
    assert wait <= max(longest_delay(policy, retry), retry_after or 0.0)
