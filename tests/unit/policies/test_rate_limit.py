"""The arithmetic of a bucket and of two buckets together, at their edges."""

from __future__ import annotations

import pytest

from core.policies.rate_limit import HOUR_US, MINUTE_US, LimitPolicy, RateLimiter, TokenBucket


@pytest.mark.parametrize(
    ("limit", "capacity", "interval"),
    [(1, 1, 60_000_000), (9, 1, 6_666_667), (10, 1, 6_000_000), (60, 6, 1_090_910), (100_000, 10_000, 667)],
)
def test_a_bucket_holds_a_tenth_and_refills_so_that_a_window_holds_the_limit(
    limit: int, capacity: int, interval: int
) -> None:
    bucket = TokenBucket(limit, MINUTE_US)

    assert (bucket.capacity, bucket.interval_us) == (capacity, interval)


def test_a_bucket_gives_out_what_it_holds_and_then_one_at_a_time() -> None:
    bucket: TokenBucket | None = TokenBucket(20, MINUTE_US)
    for _ in range(2):
        assert bucket is not None
        bucket = bucket.try_acquire(1000)

    assert bucket is not None
    assert bucket.wait_us(1000) == 3_157_895
    assert bucket.try_acquire(1000 + 3_157_894) is None
    assert bucket.try_acquire(1000 + 3_157_895) is not None


@pytest.mark.parametrize(("extra", "is_kept"), [(0, True), (1, False)])
def test_a_bucket_is_believed_up_to_the_furthest_reservation(extra: int, is_kept: bool) -> None:
    furthest = 1000 + 500 + 2 * 3_157_895
    bucket = TokenBucket(20, MINUTE_US, furthest + extra)

    assert (bucket.believable(1000, 500) is bucket) is is_kept
    assert is_kept or bucket.believable(1000, 500) == TokenBucket(20, MINUTE_US)


def test_a_limiter_waits_for_whatever_takes_longest() -> None:
    policy = LimitPolicy(per_minute=1, per_hour=1)

    assert RateLimiter.of(policy, 0, 0, 0).wait_us(50) == 0
    assert RateLimiter.of(policy, 150, 0, 0).wait_us(50) == 100
    assert RateLimiter.of(policy, 150, 250, 0).wait_us(50) == 200
    assert RateLimiter.of(policy, 150, 250, 350).wait_us(50) == 300


def test_a_limiter_takes_both_tokens_or_none() -> None:
    limiter = RateLimiter.of(LimitPolicy(per_minute=1, per_hour=1), 0, 0, 0)

    taken = limiter.try_acquire(50)

    assert taken is not None
    assert (taken.minute.full_at, taken.hour.full_at) == (50 + MINUTE_US, 50 + HOUR_US)
    assert taken.try_acquire(50 + MINUTE_US) is None
