"""The arithmetic of a bucket, of both limits, and of the two shares that they are divided into, at their edges."""

from __future__ import annotations

import pytest

from core.model.calling import CallClass, LimitMode
from core.policies.rate_limit import (
    HOUR_US,
    LONGEST_TURN_US,
    MINUTE_US,
    NEVER,
    Bookings,
    History,
    LimitPolicy,
    RateLimiter,
    Share,
    TokenBucket,
    no_history,
)

SECOND_US = 1_000_000


def twenty() -> TokenBucket:
    """It holds two tokens; one comes back each 3,157,895 µs."""
    return TokenBucket.of(20, MINUTE_US)


def wide(mode: LimitMode = LimitMode.BUCKET) -> RateLimiter:
    """Shared: 80 a minute, one each 750,000 µs, and 4,800 an hour. Reserved: 20, one each 3,000,000 µs, and 1,200."""
    return LimitPolicy(per_minute=100, per_hour=6000, max_wait_us=7, mode=mode).limiter


def remembering(shared: list[int], reserved: list[int] | None = None) -> History:
    """A history of calls that went at those times, by each share."""
    gone = {False: shared, True: reserved or []}
    return lambda back, is_reserved: gone[is_reserved][-back] if back <= len(gone[is_reserved]) else NEVER


@pytest.mark.parametrize(
    ("limit", "capacity", "interval"),
    [
        (1, 1, 60_000_000),
        (9, 1, 6_666_667),
        (10, 1, 6_000_000),
        (19, 1, 3_157_895),
        (20, 2, 3_157_895),
        (60, 6, 1_090_910),
        (100_000, 10_000, 667),
    ],
)
def test_a_bucket_holds_a_tenth_and_refills_so_that_a_window_holds_the_limit(
    limit: int, capacity: int, interval: int
) -> None:
    for mode in (LimitMode.ANY_WINDOW, LimitMode.EXACT):
        bucket = TokenBucket.of(limit, MINUTE_US, mode)

        assert bucket == TokenBucket(limit, MINUTE_US, capacity, interval, (capacity - 1) * interval)


def test_a_plain_bucket_holds_the_whole_limit_and_refills_it_in_a_window() -> None:
    assert TokenBucket.of(60, MINUTE_US, LimitMode.BUCKET) == TokenBucket(
        60, MINUTE_US, 60, SECOND_US, 59 * SECOND_US
    )
    assert TokenBucket.of(7, MINUTE_US, LimitMode.BUCKET).interval_us == 8_571_429


@pytest.mark.parametrize(("limit", "window"), [(0, MINUTE_US), (-1, MINUTE_US), (1, 0)])
def test_a_limit_of_nothing_is_refused_with_a_reason(limit: int, window: int) -> None:
    with pytest.raises(
        ValueError, match=r"^A limit allows at least one call in a window of at least a microsecond\.$"
    ):
        TokenBucket.of(limit, window)


def test_the_shortest_window_of_a_single_call_is_a_microsecond() -> None:
    assert TokenBucket.of(1, 1) == TokenBucket(1, 1, 1, 1, 0)


def test_a_bucket_gives_out_what_it_holds_and_then_one_at_a_time() -> None:
    full_at: int | None = 0
    for _ in range(2):
        assert full_at is not None
        full_at = twenty().try_acquire(full_at, 1000)

    assert full_at == 1000 + 2 * 3_157_895
    assert twenty().wait_us(full_at, 1000) == 3_157_895
    assert twenty().try_acquire(full_at, 1000 + 3_157_894) is None
    assert twenty().try_acquire(full_at, 1000 + 3_157_895) == 1000 + 3 * 3_157_895


@pytest.mark.parametrize(
    ("full_at", "left"),
    [(-(10**9), 2), (0, 2), (1000, 2), (1001, 1), (1000 + 3_157_895, 1), (1001 + 3_157_895, 0), (10**9, 0)],
)
def test_a_bucket_tells_how_many_tokens_it_has(full_at: int, left: int) -> None:
    assert twenty().left(full_at, 1000) == left
    assert (twenty().wait_us(full_at, 1000) == 0) is (left > 0)


@pytest.mark.parametrize(("extra", "is_kept"), [(0, True), (1, False)])
def test_a_bucket_is_believed_up_to_the_furthest_reservation(extra: int, is_kept: bool) -> None:
    furthest = 1000 + 500 + MINUTE_US

    assert twenty().believable(furthest + extra, 1000, 500) == (furthest if is_kept else 0)


@pytest.mark.parametrize(
    ("figures", "shared", "reserved"),
    [
        ((60, 1000, 20), (48, 800), (12, 200)),
        ((60, 1000, 0), (60, 1000), None),
        ((60, 1000, 90), (6, 100), (54, 900)),
        ((60, 1000, 99), (1, 16), (59, 984)),
        ((2, 100, 20), (1, 50), (1, 50)),
        ((7, 100, 20), (5, 71), (2, 29)),
        ((1, 1000, 20), (1, 1000), None),
        ((60, 1, 20), (60, 1), None),
        ((60, 2, 20), (48, 1), (12, 1)),
        ((100, 5, 90), (10, 1), (90, 4)),
    ],
)
def test_a_limit_is_divided_into_a_shared_and_a_reserved_part(
    figures: tuple[int, int, int], shared: tuple[int, int], reserved: tuple[int, int] | None
) -> None:
    per_minute, per_hour, percent = figures
    policy = LimitPolicy(per_minute, per_hour, reserved_percent=percent)
    limiter = policy.limiter

    assert limiter == RateLimiter.of(policy)
    assert limiter.shared == Share(TokenBucket.of(shared[0], MINUTE_US), TokenBucket.of(shared[1], HOUR_US))
    assert limiter.reserved == (
        reserved and Share(TokenBucket.of(reserved[0], MINUTE_US), TokenBucket.of(reserved[1], HOUR_US))
    )
    assert (limiter.max_wait_us, limiter.is_exact) == (policy.max_wait_us, False)


def test_the_parts_of_a_limit_keep_it_in_its_mode() -> None:
    limiter = wide()

    assert limiter.reserved is not None
    assert limiter.shared.minute == TokenBucket.of(80, MINUTE_US, LimitMode.BUCKET)
    assert limiter.reserved.hour == TokenBucket.of(1200, HOUR_US, LimitMode.BUCKET)
    assert LimitPolicy(1, 60, mode=LimitMode.BUCKET).limiter.shared.hour.capacity == 60
    assert not limiter.is_exact
    assert wide(LimitMode.EXACT).is_exact


@pytest.mark.parametrize(("per_minute", "per_hour"), [(0, 1), (1, 0), (-3, 10), (10, -3)])
def test_a_policy_that_allows_nothing_is_refused(per_minute: int, per_hour: int) -> None:
    with pytest.raises(ValueError, match="at least one call"):
        LimitPolicy(per_minute, per_hour)


@pytest.mark.parametrize("percent", [-1, 100])
def test_a_reserved_share_that_is_none_or_leaves_nothing_is_refused(percent: int) -> None:
    with pytest.raises(
        ValueError, match=r"^The reserved share is a percentage, and leaves something for batch calls\.$"
    ):
        LimitPolicy(reserved_percent=percent)


@pytest.mark.parametrize(("per_minute", "per_hour"), [(10_001, 1), (1, 10_001)])
def test_a_limit_that_is_too_large_to_remember_cannot_be_exact(per_minute: int, per_hour: int) -> None:
    LimitPolicy(10_000, 10_000, mode=LimitMode.EXACT)
    LimitPolicy(per_minute, per_hour)

    with pytest.raises(
        ValueError, match=r"^The mode exact remembers 10000 calls; for more, choose any_window\.$"
    ):
        LimitPolicy(per_minute, per_hour, mode=LimitMode.EXACT)


def test_two_policies_of_the_same_figures_are_one_and_show_their_figures_alone() -> None:
    assert LimitPolicy(7, 70) == LimitPolicy(7, 70)
    assert "limiter" not in repr(LimitPolicy(7, 70))


BUSY = Bookings(
    minute_full_at=50 + 80 * 750_000 + 300,
    hour_full_at=50 + 4800 * 750_000 + 200,
    reserved_minute_full_at=50 + 20 * 3_000_000 + 100,
    reserved_hour_full_at=50 + 1200 * 3_000_000 + 400,
)
"""At 50 the shared share waits for its minute (750,300 µs), the reserved one for its hour (3,000,400)."""


@pytest.mark.parametrize("call_class", CallClass)
def test_a_share_waits_for_whichever_of_its_buckets_takes_longer(call_class: CallClass) -> None:
    limiter = wide()

    assert limiter.turn(BUSY, 50, call_class) == (750_300, False)
    assert limiter.turn(BUSY._replace(minute_full_at=0), 50, call_class) == (750_200, False)
    assert limiter.turn(BUSY, 50 + 750_299, CallClass.BATCH) == (1, False)
    assert limiter.turn(BUSY, 50 + 750_300, CallClass.BATCH) == (0, False)


def test_a_person_goes_by_the_share_that_lets_go_first_and_by_the_reserved_one_if_both_do() -> None:
    limiter = wide()
    reserved_soon = Bookings(BUSY.minute_full_at, BUSY.hour_full_at, 50 + 20 * 3_000_000 - 2_999_000, 0)

    assert limiter.turn(Bookings(), 50) == (0, True)
    assert limiter.turn(BUSY._replace(minute_full_at=0, hour_full_at=0), 50) == (0, False)
    assert limiter.turn(reserved_soon, 50) == (1000, True)
    assert limiter.turn(reserved_soon, 50, CallClass.BATCH) == (750_300, False)
    assert limiter.turn(reserved_soon._replace(reserved_minute_full_at=50 + 57_750_300), 50) == (
        750_300,
        True,
    )
    assert limiter.turn(reserved_soon._replace(reserved_minute_full_at=50 + 57_750_301), 50) == (
        750_300,
        False,
    )


def test_batch_work_never_goes_by_the_reserved_share() -> None:
    assert wide().turn(Bookings(), 50, CallClass.BATCH) == (0, False)


def test_without_a_reserved_share_everyone_goes_by_the_shared_one() -> None:
    limiter = LimitPolicy(1, 1).limiter

    for call_class in CallClass:
        assert limiter.turn(Bookings(minute_full_at=150), 50, call_class) == (100, False)
        assert limiter.turn(Bookings(hour_full_at=250), 50, call_class) == (200, False)


def test_a_limiter_takes_both_tokens_of_one_share_and_leaves_the_other_alone() -> None:
    limiter = wide()
    before = Bookings(1, 2, 3, 4, 5, 6)

    by_shared = limiter.acquire(before, 50, is_reserved=False)
    by_reserved = limiter.acquire(before, 50, is_reserved=True)

    assert by_shared == Bookings(50 + 750_000, 50 + 750_000, 3, 4, 5, 6)
    assert by_reserved == Bookings(1, 2, 50 + 3_000_000, 50 + 3_000_000, 5, 6)


def test_in_the_mode_exact_the_calls_of_each_share_are_counted() -> None:
    limiter = wide(LimitMode.EXACT)

    assert limiter.acquire(Bookings(), 50, is_reserved=False)[4:] == (1, 0)
    assert limiter.acquire(Bookings(admitted=7, reserved_admitted=9), 50, is_reserved=True)[4:] == (7, 10)


def test_a_limiter_takes_both_tokens_or_none() -> None:
    limiter = LimitPolicy(per_minute=1, per_hour=1).limiter

    taken = limiter.try_acquire(Bookings(), 50)

    assert taken == Bookings(50 + MINUTE_US, 50 + HOUR_US)
    assert limiter.try_acquire(taken, 50 + HOUR_US - 1) is None
    assert limiter.try_acquire(taken, 50 + HOUR_US) == Bookings(50 + HOUR_US + MINUTE_US, 50 + 2 * HOUR_US)
    assert limiter.try_acquire(Bookings(hour_full_at=51), 50, CallClass.BATCH) is None


def test_a_limiter_that_is_exact_takes_tokens_by_what_is_remembered() -> None:
    limiter, gone = exact(), remembering([10, 20])
    booked = Bookings(admitted=2)

    assert limiter.try_acquire(booked, 30, CallClass.BATCH, gone) is None
    taken = limiter.try_acquire(booked, 10 + MINUTE_US, CallClass.BATCH, gone)
    assert taken is not None
    assert taken.admitted == 3


def test_a_limiter_takes_of_the_share_that_the_class_goes_by() -> None:
    limiter = wide()

    assert limiter.try_acquire(Bookings(), 50, CallClass.BATCH) == Bookings(50 + 750_000, 50 + 750_000)
    assert limiter.try_acquire(Bookings(), 50) == Bookings(0, 0, 50 + 3_000_000, 50 + 3_000_000)


def test_what_is_left_is_told_for_each_class() -> None:
    limiter = wide()
    booked = Bookings(50 + 750_000, 50 + 2 * 750_000, 50 + 3 * 3_000_000, 50 + 4 * 3_000_000)

    assert limiter.left(booked, 50) == (79 + 17, 4798 + 1196)
    assert limiter.left(booked, 50, CallClass.BATCH) == (79, 4798)
    assert LimitPolicy(1, 2).limiter.left(Bookings(51, 49), 50) == (0, 1)
    assert wide(LimitMode.EXACT).left(booked, 50) is None


def test_what_only_a_clock_set_back_can_explain_is_not_believed() -> None:
    limiter, longest = wide(), 50 + LONGEST_TURN_US
    furthest = Bookings(
        *(longest + 80 * 750_000, longest + 4800 * 750_000),
        *(longest + 20 * 3_000_000, longest + 1200 * 3_000_000, 3, 4),
    )

    assert limiter.believable(furthest, 50) is furthest
    for place in range(4):
        figures = list(furthest)
        figures[place] += 1
        spoilt, figures[place] = Bookings(*figures), 0
        assert limiter.believable(spoilt, 50) == Bookings(*figures)


def test_a_share_that_there_is_none_of_is_not_looked_at() -> None:
    booked = Bookings(0, 0, 10**15, 10**15)

    assert LimitPolicy(1, 1).limiter.turn(booked, 50) == (0, False)
    assert LimitPolicy(1, 1).limiter.acquire(booked, 50, is_reserved=False) == Bookings(
        50 + MINUTE_US, 50 + HOUR_US, 10**15, 10**15
    )


@pytest.mark.parametrize(("ahead", "counts"), [(LONGEST_TURN_US, (3, 4)), (LONGEST_TURN_US + 1, (0, 0))])
def test_calls_remembered_from_before_the_clock_was_set_back_are_forgotten(
    ahead: int, counts: tuple[int, int]
) -> None:
    limiter = wide(LimitMode.EXACT)
    booked = Bookings(admitted=3, reserved_admitted=4)
    last = [50 + ahead]

    assert limiter.believable(booked, 50, remembering(last, last))[4:] == counts
    assert limiter.believable(booked, 50, remembering(last, [50]))[4:] == (counts[0], 4)
    assert limiter.believable(booked, 50, remembering([50], last))[4:] == (3, counts[1])


def exact() -> RateLimiter:
    """Of each share two a minute and four an hour."""
    return LimitPolicy(4, 8, HOUR_US, LimitMode.EXACT, reserved_percent=50).limiter


def test_an_exact_limit_lets_the_next_call_go_when_the_oldest_one_is_a_window_old() -> None:
    limiter = exact()
    gone = remembering([10, 20])

    assert limiter.turn(Bookings(admitted=2), 30, CallClass.BATCH, gone) == (10 + MINUTE_US - 30, False)
    assert limiter.turn(Bookings(admitted=2), 10 + MINUTE_US, CallClass.BATCH, gone) == (0, False)
    assert limiter.turn(Bookings(admitted=2), 30, CallClass.INTERACTIVE, gone) == (0, True)


def test_an_exact_limit_counts_the_hour_as_well() -> None:
    gone = remembering([10, 20 + MINUTE_US, 30 + 2 * MINUTE_US, 40 + 3 * MINUTE_US])
    now = 50 + 5 * MINUTE_US

    assert exact().turn(Bookings(admitted=4), now, CallClass.BATCH, gone) == (
        10 + HOUR_US - now,
        False,
    )


def test_calls_of_an_exact_limit_go_after_one_another_also_when_the_last_one_still_waits() -> None:
    assert exact().turn(Bookings(admitted=1), 30, CallClass.BATCH, remembering([100])) == (70, False)


def test_an_exact_limit_remembers_no_more_calls_than_it_has_counted() -> None:
    """What is beyond that was before the clock was set back."""
    old = remembering([10**12, 10**12, 100, 200], [10**12, 10**12, 30, 40])

    assert exact().turn(Bookings(admitted=1), 300, CallClass.BATCH, old) == (0, False)
    assert exact().turn(Bookings(admitted=2), 300, CallClass.BATCH, old) == (
        100 + MINUTE_US - 300,
        False,
    )
    assert exact().turn(Bookings(admitted=0), 0, CallClass.BATCH, old) == (0, False)
    assert exact().turn(Bookings(2, 0, 0, 0, 2, 1), 300, history=old) == (0, True)


def test_a_person_goes_by_the_exact_share_that_lets_go_first_and_by_the_reserved_one_if_both_do() -> None:
    both = Bookings(admitted=2, reserved_admitted=2)

    assert exact().turn(both, 30, history=remembering([10, 20], [11, 12])) == (
        10 + MINUTE_US - 30,
        False,
    )
    assert exact().turn(both, 30, history=remembering([10, 20], [10, 12])) == (
        10 + MINUTE_US - 30,
        True,
    )
    assert exact().turn(both, 30, history=remembering([10, 20], [9, 12])) == (9 + MINUTE_US - 30, True)


def test_an_exact_limit_that_cannot_be_divided_has_one_history() -> None:
    limiter = LimitPolicy(per_minute=1, per_hour=9, mode=LimitMode.EXACT).limiter

    assert limiter.reserved is None
    assert limiter.turn(Bookings(admitted=1), 30, history=remembering([10], [30])) == (MINUTE_US - 20, False)


def test_a_provider_that_was_never_called_has_no_history() -> None:
    assert no_history(1, True) == no_history(10_000, False) == NEVER
    assert NEVER == -(10**18)


@pytest.mark.parametrize(
    ("limit", "window", "mode", "furthest"),
    [
        (60, MINUTE_US, LimitMode.ANY_WINDOW, MINUTE_US),
        (1, HOUR_US, LimitMode.ANY_WINDOW, HOUR_US),
        (7, HOUR_US, LimitMode.ANY_WINDOW, -(-HOUR_US // 7)),
        (8, HOUR_US, LimitMode.ANY_WINDOW, HOUR_US // 8),
        (1_000_000, HOUR_US, LimitMode.ANY_WINDOW, HOUR_US // 8),
        (1000, HOUR_US, LimitMode.BUCKET, HOUR_US),
        (2, 8, LimitMode.ANY_WINDOW, 8),
    ],
)
def test_a_bucket_may_be_booked_as_far_ahead_as_a_limit_of_its_window_books(
    limit: int, window: int, mode: LimitMode, furthest: int
) -> None:
    bucket = TokenBucket.of(limit, window, mode)

    assert bucket.furthest_us == furthest
    assert bucket.capacity * bucket.interval_us <= furthest


@pytest.mark.parametrize(
    ("own", "longest"),
    [(0, LONGEST_TURN_US), (LONGEST_TURN_US, LONGEST_TURN_US), (LONGEST_TURN_US + 1, LONGEST_TURN_US + 1)],
)
def test_others_are_believed_to_wait_for_as_long_as_any_configuration_allows(own: int, longest: int) -> None:
    assert LimitPolicy(max_wait_us=own).limiter.longest_wait_us == longest
