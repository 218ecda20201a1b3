"""The rate limit is never exceeded in any window, is nearly used up under pressure, and serves in order of arrival."""

from __future__ import annotations

from bisect import bisect_left
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.policies.admission import (
    AdmissionPolicy,
    Granted,
    ProviderState,
    RefusedByLimiter,
    Settlement,
    admit,
    settle,
)
from core.policies.rate_limit import HOUR_US, MINUTE_US, LimitPolicy, TokenBucket
from core.state.base import StateStore
from core.state.memory import MemoryState
from core.state.sqlite import SqliteState
from tests.conformance import workers
from tests.conformance.workers import CIRCUIT
from tests.fakes import FakeClock

START = 1_000_000_000_000

limits = st.builds(
    LimitPolicy,
    per_minute=st.integers(1, 40),
    per_hour=st.integers(1, 120),
    max_wait_us=st.sampled_from([0, 5_000_000, 300_000_000]),
)
gaps = st.sampled_from([0, 0, 0, 1, 1_000_000, 30_000_000, 60_000_000, 600_000_000]) | st.integers(
    0, 120_000_000
)
steps = st.integers(-90_000, 90_000)
"""Seconds by which an administrator sets the clock back."""
asks = st.tuples(gaps, st.sampled_from([0, 1_000_000, 10**12]), st.sampled_from([0, 0, 0, 0, 2_000_000]))


def most_in_any(window: int, times: list[int]) -> int:
    """The most calls that any half-open window of that length holds, counted from each call on."""
    times = sorted(times)
    return max((bisect_left(times, begin + window) - index for index, begin in enumerate(times)), default=0)


def going(policy: AdmissionPolicy, schedule: list[tuple[int, int, int]]) -> list[int]:
    """When those calls go that are granted; each comes some time after the one before and may ask for a pause."""
    state, now, gone = ProviderState(), START, []
    for gap, patience, pause in schedule:
        now += gap
        state, admission = admit(state, policy, now, patience)
        if isinstance(admission, Granted):
            gone.append(now + admission.wait_us)
            state = settle(state, policy, admission, Settlement.NOTHING, now, pause_us=pause)
    return gone


def test_the_fullest_window_is_counted_rightly() -> None:
    """Otherwise the tests below would prove nothing."""
    assert most_in_any(10, []) == 0
    assert most_in_any(10, [0, 5, 10, 14, 30]) == 3
    assert most_in_any(10, [7, 7, 7, 16, 17]) == 4


@pytest.mark.property(15)
@settings(max_examples=300)
@given(limit=limits, schedule=st.lists(asks, max_size=150))
def test_no_minute_and_no_hour_ever_holds_more_calls_than_its_limit(
    limit: LimitPolicy, schedule: list[tuple[int, int, int]]
) -> None:
    gone = going(AdmissionPolicy(None, limit), schedule)

    assert most_in_any(MINUTE_US, gone) <= limit.per_minute
    assert most_in_any(HOUR_US, gone) <= limit.per_hour


@pytest.mark.property(15)
@settings(max_examples=300)
@given(
    limit=st.integers(1, 60),
    window=st.sampled_from([MINUTE_US, HOUR_US]),
    idle=st.integers(0, HOUR_US),
    gaps=st.lists(st.integers(0, 3) | st.integers(0, 20_000_000) | gaps, max_size=150),
)
def test_no_interval_holds_more_than_the_burst_and_what_comes_back_in_it(
    limit: int, window: int, idle: int, gaps: list[int]
) -> None:
    """A bucket is asked again and again; each span between two grants is counted, the grants at its ends included."""
    bucket, now, gone = TokenBucket(limit, window), START + idle, []
    for gap in gaps:
        now += gap
        after = bucket.try_acquire(now)
        if after is not None:
            bucket = after
            gone.append(now)

    for first, begin in enumerate(gone):
        for count, end in enumerate(gone[first:], 1):
            assert count <= bucket.capacity + (end - begin) * limit / window
    assert most_in_any(window, gone) <= limit
    assert not gaps or gone, "a bucket that nobody has asked is full"


def stepping(
    store: StateStore, clock: FakeClock, limit: LimitPolicy, schedule: list[tuple[int, int]]
) -> list[int]:
    """When those calls go that are granted, in time that really passed, while somebody sets the machine's clock."""
    gone = []
    for gap, step in schedule:
        clock.advance(gap / 1e6)
        clock.set_back(step)
        admission = store.admit(CIRCUIT, AdmissionPolicy(None, limit), 1_000_000)
        if isinstance(admission, Granted):
            gone.append(round(clock.monotonic() * 1e6) + admission.wait_us)
    return gone


@pytest.mark.property(15)
@pytest.mark.fault("LI-01")
@settings(max_examples=200)
@given(limit=limits, schedule=st.lists(st.tuples(gaps, steps), max_size=120))
def test_setting_the_machines_clock_neither_frees_a_burst_nor_locks_out(
    limit: LimitPolicy, schedule: list[tuple[int, int]]
) -> None:
    """No window holds more than the limit, and the calls are the same as they would be without the steps."""
    stepped, steady = FakeClock(), FakeClock()

    gone = stepping(MemoryState(stepped), stepped, limit, schedule)

    assert most_in_any(MINUTE_US, gone) <= limit.per_minute
    assert most_in_any(HOUR_US, gone) <= limit.per_hour
    assert gone == stepping(MemoryState(steady), steady, limit, [(gap, 0) for gap, _ in schedule])


@pytest.mark.property(15)
@pytest.mark.fault("LI-01")
@settings(max_examples=25)
@given(limit=limits, schedule=st.lists(st.tuples(gaps, steps), max_size=60))
def test_the_store_that_processes_share_keeps_the_limit_over_clock_steps_as_well(
    tmp_path_factory: pytest.TempPathFactory, limit: LimitPolicy, schedule: list[tuple[int, int]]
) -> None:
    clock = FakeClock()
    store = SqliteState(tmp_path_factory.mktemp("state") / "state.db", clock)

    gone = stepping(store, clock, limit, schedule)
    store.close()

    assert most_in_any(MINUTE_US, gone) <= limit.per_minute
    assert most_in_any(HOUR_US, gone) <= limit.per_hour
    assert not schedule or gone


@pytest.mark.property(27)
@pytest.mark.fault("LI-02")
@settings(max_examples=3)
@given(limit=st.builds(LimitPolicy, st.integers(1, 60), st.integers(1, 400), st.just(2 * HOUR_US)))
def test_four_processes_together_keep_the_minute_and_the_hour(
    tmp_path_factory: pytest.TempPathFactory, limit: LimitPolicy
) -> None:
    """Each asks forty times for a turn, however late. A call goes between its earliest and its latest moment.

    The n-th call of all goes no earlier than the n-th earliest moment and no later than the n-th latest one. So if
    the call that is `limit` places behind it goes a window later, as it must, its latest moment is that late at least.
    """
    where = str(tmp_path_factory.mktemp("state") / "state.db")
    work = partial(workers.reserve, policy=AdmissionPolicy(None, limit), times=40)

    turns = [turn for process in workers.in_four_processes(work, where) for turn in process]

    earliest, latest = (sorted(moments) for moments in zip(*turns, strict=True))
    for most, window in ((limit.per_minute, MINUTE_US), (limit.per_hour, HOUR_US)):
        for before, after in zip(earliest, latest[most:], strict=False):
            assert after - before >= window
    assert len(turns) > min(limit.per_minute, limit.per_hour), "too few calls to fill a window"


@pytest.mark.property(15)
@pytest.mark.fault("LI-01")
@given(limit=limits, schedule=st.lists(asks, max_size=60), back=st.integers(1, START))
def test_a_clock_that_goes_back_all_the_same_lets_calls_wait_no_longer_than_ever(
    limit: LimitPolicy, schedule: list[tuple[int, int, int]], back: int
) -> None:
    """As when a machine was started again. A pause is forgotten then; a bucket is full, or owes what it may owe."""
    policy = AdmissionPolicy(None, limit)
    state, now = ProviderState(), START
    for gap, patience, pause in schedule:
        now += gap
        state, admission = admit(state, policy, now, patience)
        if isinstance(admission, Granted):
            state = settle(state, policy, admission, Settlement.NOTHING, now, pause_us=pause)
    state = settle(state, policy, Granted(0), Settlement.NOTHING, now, pause_us=HOUR_US)

    _, admission = admit(state, policy, now - back, limit.max_wait_us)

    buckets = TokenBucket(limit.per_minute, MINUTE_US), TokenBucket(limit.per_hour, HOUR_US)
    longest = limit.max_wait_us + max(bucket.interval_us for bucket in buckets)
    assert isinstance(admission, Granted) or admission.retry_after_us <= longest


@pytest.mark.property(15)
@settings(max_examples=60)
@given(per_minute=st.integers(1, 300))
def test_callers_who_are_patient_get_nine_tenths_of_the_limit_or_more(per_minute: int) -> None:
    policy = AdmissionPolicy(None, LimitPolicy(per_minute, 1_000_000, 120_000_000))
    state, last = ProviderState(), START
    in_three_minutes = []
    while last < START + 3 * MINUTE_US:
        state, admission = admit(state, policy, max(START, last - 60_000_000), 120_000_000)
        assert isinstance(admission, Granted)
        last = max(START, last - 60_000_000) + admission.wait_us
        in_three_minutes.append(last)

    for minute in range(3):
        begin = START + minute * MINUTE_US
        used = sum(begin <= moment < begin + MINUTE_US for moment in in_three_minutes)
        assert used >= (0.9 * per_minute if per_minute >= 10 else per_minute)


@pytest.mark.property(28)
@given(limit=limits, schedule=st.lists(asks, max_size=100))
def test_calls_go_in_the_order_in_which_they_came(
    limit: LimitPolicy, schedule: list[tuple[int, int, int]]
) -> None:
    gone = going(AdmissionPolicy(None, limit), schedule)

    assert all(earlier <= later for earlier, later in pairwise(gone))


@pytest.mark.property(28)
@given(limit=limits, schedule=st.lists(asks, min_size=1, max_size=100))
def test_a_call_is_granted_if_and_only_if_its_turn_comes_within_its_patience(
    limit: LimitPolicy, schedule: list[tuple[int, int, int]]
) -> None:
    policy, state, now = AdmissionPolicy(None, limit), ProviderState(), START
    for gap, patience, _ in schedule:
        now += gap
        before = state
        state, admission = admit(state, policy, now, patience)
        allowed = min(patience, limit.max_wait_us)
        if isinstance(admission, Granted):
            assert admission.wait_us <= allowed
        else:
            assert isinstance(admission, RefusedByLimiter)
            assert admission.retry_after_us > allowed
            assert state == before
            _, then = admit(state, policy, now + admission.retry_after_us, 0)
            assert then == Granted(0), "its turn comes when it was told"


@pytest.mark.fault("LI-05")
@given(limit=st.integers(max_value=0), window=st.integers(max_value=0))
def test_a_limit_that_lets_nothing_through_is_an_error_at_once(limit: int, window: int) -> None:
    for impossible in ((limit, MINUTE_US), (60, window)):
        with pytest.raises(ValueError, match="at least one call"):
            TokenBucket(*impossible)


@pytest.mark.fault("LI-05")
@given(before=limits, after=limits, calls=st.integers(0, 60))
def test_a_limit_changed_under_way_never_makes_calls_wait_longer_than_the_new_one_can(
    before: LimitPolicy, after: LimitPolicy, calls: int
) -> None:
    state = ProviderState()
    for _ in range(calls):
        state, _ = admit(state, AdmissionPolicy(None, before), START, 10**12)

    _, admission = admit(state, AdmissionPolicy(None, after), START, 10**12)

    buckets = TokenBucket(after.per_minute, MINUTE_US), TokenBucket(after.per_hour, HOUR_US)
    longest = after.max_wait_us + max(bucket.interval_us for bucket in buckets)
    assert isinstance(admission, Granted) or admission.retry_after_us <= longest


@pytest.mark.fault("LI-06")
@given(limit=limits, pause=st.integers(1, 2 * HOUR_US), share=st.floats(0, 1, exclude_max=True))
def test_nothing_goes_before_a_pause_is_over(limit: LimitPolicy, pause: int, share: float) -> None:
    policy, held = AdmissionPolicy(None, limit), min(pause, HOUR_US)
    state = settle(ProviderState(), policy, Granted(0), Settlement.NOTHING, START, pause_us=pause)
    now = START + int(held * share)

    _, admission = admit(state, policy, now, 10**12)

    waits = admission.wait_us if isinstance(admission, Granted) else admission.retry_after_us
    assert waits == START + held - now
