"""The rate limit is never exceeded in any window, is nearly used up under pressure, and serves in order of arrival."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from core.model.calling import CallClass, LimitMode
from core.policies.admission import (
    Admission,
    AdmissionPolicy,
    Ask,
    Granted,
    ProviderState,
    RefusedByLimiter,
    Settlement,
    admit,
    settle,
)
from core.policies.rate_limit import HOUR_US, LONGEST_TURN_US, MINUTE_US, NEVER, LimitPolicy, TokenBucket
from core.state.base import StateStore
from core.state.memory import MemoryState
from core.state.sqlite import SqliteState
from tests.conformance import workers
from tests.conformance.workers import CIRCUIT
from tests.fakes import FakeClock

START = 1_000_000_000_000
PATIENT = 10**12


class Asked(NamedTuple):
    """A call that comes `gap` after the one before, and whose provider asks for a pause of `pause` when it went."""

    gap: int
    patience: int
    call_class: CallClass
    pause: int


def limits_in(*modes: LimitMode) -> st.SearchStrategy[LimitPolicy]:
    return st.builds(
        LimitPolicy,
        per_minute=st.integers(1, 40),
        per_hour=st.integers(1, 120),
        max_wait_us=st.sampled_from([0, 5_000_000, 300_000_000]),
        mode=st.sampled_from(modes),
        reserved_percent=st.sampled_from([0, 20, 50, 90]),
    )


limits = limits_in(LimitMode.ANY_WINDOW, LimitMode.EXACT)
gaps = st.sampled_from([0, 0, 0, 1, 1_000_000, 30_000_000, 60_000_000, 600_000_000]) | st.integers(
    0, 120_000_000
)
steps = st.integers(-90_000, 90_000)
"""Seconds by which an administrator sets the clock back."""
classes = st.sampled_from(CallClass)
schedules = st.lists(
    st.builds(
        Asked,
        gaps,
        st.sampled_from([0, 1_000_000, PATIENT]),
        classes,
        st.sampled_from([0, 0, 0, 0, 2_000_000]),
    ),
    max_size=120,
)


class Provider:
    """One provider under one limit, with what a store remembers of it."""

    def __init__(self, limit: LimitPolicy) -> None:
        self.policy = AdmissionPolicy(None, limit)
        self.state = ProviderState()
        self.gone: tuple[list[int], list[int]] = [], []
        """When its calls went: by the shared share, and by the reserved one."""

    def ask(
        self, now: int, patience: int = PATIENT, call_class: CallClass = CallClass.INTERACTIVE
    ) -> Admission:
        self.state, admission = admit(self.state, self.policy, Ask(patience, call_class), now, self._went_at)
        if isinstance(admission, Granted):
            self.gone[admission.is_reserved].append(now + admission.wait_us)
        return admission

    def pause(self, now: int, pause_us: int) -> None:
        self.state = settle(self.state, self.policy, Granted(0), Settlement.NOTHING, now, pause_us=pause_us)

    def _went_at(self, back: int, is_reserved: bool) -> int:
        share = self.gone[is_reserved]
        return share[-back] if back <= len(share) else NEVER


def going(limit: LimitPolicy, schedule: list[Asked]) -> list[tuple[int, CallClass]]:
    """When those calls go that are granted, in the order in which they asked."""
    provider, now, gone = Provider(limit), START, []
    for asked in schedule:
        now += asked.gap
        admission = provider.ask(now, asked.patience, asked.call_class)
        if isinstance(admission, Granted):
            gone.append((now + admission.wait_us, asked.call_class))
            provider.pause(now, asked.pause)
    return gone


def most_in_any(window: int, times: list[int]) -> int:
    """The most calls that any half-open window of that length holds, counted from each call on."""
    times = sorted(times)
    return max((bisect_left(times, begin + window) - index for index, begin in enumerate(times)), default=0)


def longest_wait(limit: LimitPolicy) -> int:
    """No call waits longer for its turn, whatever was booked: as any call may, and for what lies further off by then."""
    longest = max(limit.max_wait_us, LONGEST_TURN_US)
    if limit.mode is LimitMode.EXACT:
        return longest + HOUR_US
    shares = [limit.limiter.shared, limit.limiter.reserved or limit.limiter.shared]
    return longest + max(
        bucket.furthest_us - bucket.reach_us for share in shares for bucket in (share.minute, share.hour)
    )


def waited(admission: Admission) -> int:
    """How long the call waits, or would have to."""
    if isinstance(admission, Granted):
        return admission.wait_us
    assert isinstance(admission, RefusedByLimiter)
    return admission.retry_after_us


def test_the_fullest_window_is_counted_rightly() -> None:
    """Otherwise the tests below would prove nothing."""
    assert most_in_any(10, []) == 0
    assert most_in_any(10, [0, 5, 10, 14, 30]) == 3
    assert most_in_any(10, [7, 7, 7, 16, 17]) == 4


@pytest.mark.property(15)
@pytest.mark.property(27)
@settings(max_examples=300)
@given(limit=limits, schedule=schedules)
def test_no_minute_and_no_hour_ever_holds_more_calls_than_its_limit(
    limit: LimitPolicy, schedule: list[Asked]
) -> None:
    gone = [moment for moment, _ in going(limit, schedule)]

    assert most_in_any(MINUTE_US, gone) <= limit.per_minute
    assert most_in_any(HOUR_US, gone) <= limit.per_hour


@pytest.mark.property(15)
@given(limit=limits_in(LimitMode.BUCKET), schedule=schedules)
def test_a_plain_bucket_lets_no_more_through_than_its_limit_and_what_comes_back_meanwhile(
    limit: LimitPolicy, schedule: list[Asked]
) -> None:
    gone = sorted(moment for moment, _ in going(limit, schedule))

    for first, begin in enumerate(gone):
        for count, end in enumerate(gone[first:], 1):
            assert count <= limit.per_minute + (end - begin) * limit.per_minute / MINUTE_US
            assert count <= limit.per_hour + (end - begin) * limit.per_hour / HOUR_US


@pytest.mark.property(15)
@settings(max_examples=300)
@given(
    limit=st.integers(1, 60),
    window=st.sampled_from([MINUTE_US, HOUR_US]),
    mode=st.sampled_from(LimitMode),
    idle=st.integers(0, HOUR_US),
    gaps=st.lists(st.integers(0, 3) | st.integers(0, 20_000_000) | gaps, max_size=150),
)
def test_no_interval_holds_more_than_the_burst_and_what_comes_back_in_it(
    limit: int, window: int, mode: LimitMode, idle: int, gaps: list[int]
) -> None:
    """A bucket is asked again and again; each span between two grants is counted, the grants at its ends included."""
    bucket, full_at, now, gone = TokenBucket.of(limit, window, mode), 0, START + idle, []
    for gap in gaps:
        now += gap
        after = bucket.try_acquire(full_at, now)
        if after is not None:
            full_at = after
            gone.append(now)

    for first, begin in enumerate(gone):
        for count, end in enumerate(gone[first:], 1):
            assert count <= bucket.capacity + (end - begin) * limit / window
    if mode is not LimitMode.BUCKET:
        assert most_in_any(window, gone) <= limit
    assert not gaps or gone, "a bucket that nobody has asked is full"


@given(limit=limits, schedule=schedules)
def test_batch_work_never_takes_more_than_its_share_of_any_window(
    limit: LimitPolicy, schedule: list[Asked]
) -> None:
    gone = [moment for moment, call_class in going(limit, schedule) if call_class is CallClass.BATCH]

    shared = limit.limiter.shared
    assert most_in_any(MINUTE_US, gone) <= shared.minute.limit
    assert most_in_any(HOUR_US, gone) <= shared.hour.limit
    if limit.limiter.reserved:
        kept = limit.per_minute * limit.reserved_percent // 100
        assert shared.minute.limit <= limit.per_minute - kept


@settings(max_examples=200)
@given(limit=limits_in(*LimitMode), schedule=schedules)
def test_people_within_what_is_reserved_for_them_never_wait_for_batch_work(
    limit: LimitPolicy, schedule: list[Asked]
) -> None:
    """They are those whom a limit of that size, all to themselves, would let go at once."""
    reserved = limit.limiter.reserved
    assume(reserved is not None)
    assert reserved is not None
    alone = Provider(
        LimitPolicy(reserved.minute.limit, reserved.hour.limit, 0, limit.mode, reserved_percent=0)
    )
    crowded, now = Provider(limit), START
    for asked in schedule:
        now += asked.gap
        if asked.call_class is CallClass.BATCH:
            crowded.ask(now, asked.patience, CallClass.BATCH)
        elif isinstance(alone.ask(now, 0), Granted):
            assert waited(crowded.ask(now, 0)) == 0


@pytest.mark.property(28)
@given(limit=limits_in(*LimitMode), schedule=schedules)
def test_calls_of_a_class_go_in_the_order_in_which_they_came(
    limit: LimitPolicy, schedule: list[Asked]
) -> None:
    gone = going(limit, schedule)

    for call_class in CallClass:
        turns = [moment for moment, its_class in gone if its_class is call_class]
        assert all(earlier <= later for earlier, later in pairwise(turns))


@pytest.mark.property(28)
@given(limit=limits_in(*LimitMode), schedule=schedules)
def test_a_call_is_granted_if_and_only_if_its_turn_comes_within_its_patience(
    limit: LimitPolicy, schedule: list[Asked]
) -> None:
    """And a refusal takes nothing: neither a token of the minute, nor one of the hour, nor a place in the queue."""
    provider, now = Provider(limit), START
    for asked in schedule:
        now += asked.gap
        before = provider.state
        admission = provider.ask(now, asked.patience, asked.call_class)
        allowed = min(asked.patience, limit.max_wait_us)
        if isinstance(admission, Granted):
            assert admission.wait_us <= allowed
            continue
        assert waited(admission) > allowed
        assert provider.state is before
        told = now + waited(admission)
        too_early = Provider(limit)
        too_early.state, too_early.gone = before, (provider.gone[0].copy(), provider.gone[1].copy())
        assert waited(too_early.ask(told - 1, 0, asked.call_class)) == 1
        assert waited(too_early.ask(told, 0, asked.call_class)) == 0, "its turn comes when it was told"


@pytest.mark.property(27)
@pytest.mark.parametrize("mode", LimitMode)
def test_calls_that_the_hour_refuses_take_no_token_of_the_minute(mode: LimitMode) -> None:
    """Fifty are offered to 100 a minute and 5 an hour: two limits asked one after the other lose 45 tokens there."""
    provider = Provider(LimitPolicy(100, 5, 0, mode))

    granted = sum(isinstance(provider.ask(START, 0), Granted) for _ in range(50))

    assert granted <= 5
    taken = sum(len(share) for share in provider.gone)
    assert taken == granted
    if mode is LimitMode.BUCKET:
        assert granted == 5
        assert provider.policy.limits is not None
        assert provider.policy.limits.limiter.left(provider.state.booked, START) == (95, 0)


def used_of(limit: LimitPolicy, hours: int) -> tuple[list[int], int]:
    """How many calls went in each hour in which callers were always waiting; and how many each hour allows."""
    provider, last = Provider(limit), START
    while last < START + hours * HOUR_US:
        now = max(START, last - MINUTE_US)
        admission = provider.ask(now)
        assert isinstance(admission, Granted)
        last = now + admission.wait_us
    gone = sorted(provider.gone[0] + provider.gone[1])
    begins = [START + hour * HOUR_US for hour in range(hours)]
    used = [bisect_left(gone, begin + HOUR_US) - bisect_left(gone, begin) for begin in begins]
    return used, min(limit.per_hour, 60 * limit.per_minute)


@pytest.mark.property(15)
@settings(max_examples=60)
@given(
    per_minute=st.integers(1, 30),
    per_hour=st.integers(1, 600),
    mode=st.sampled_from([LimitMode.ANY_WINDOW, LimitMode.BUCKET]),
    percent=st.sampled_from([0, 20, 50, 90]),
)
def test_callers_who_are_patient_get_nine_tenths_of_the_limit_or_more(
    per_minute: int, per_hour: int, mode: LimitMode, percent: int
) -> None:
    used, allowed = used_of(LimitPolicy(per_minute, per_hour, 2 * HOUR_US, mode, percent), hours=2)

    assert all(count >= 0.9 * allowed for count in used)


@pytest.mark.property(15)
@settings(max_examples=60)
@given(
    per_minute=st.integers(1, 30),
    per_hour=st.integers(1, 600),
    percent=st.sampled_from([0, 20, 50, 90]),
)
def test_callers_who_are_patient_get_all_of_an_exact_limit(
    per_minute: int, per_hour: int, percent: int
) -> None:
    limit = LimitPolicy(per_minute, per_hour, 2 * HOUR_US, LimitMode.EXACT, percent)

    used, allowed = used_of(limit, hours=2)

    assert used == [allowed, allowed]


def stepping(
    store: StateStore, clock: FakeClock, limit: LimitPolicy, schedule: list[tuple[int, int, CallClass]]
) -> list[int]:
    """When those calls go that are granted, in time that really passed, while somebody sets the machine's clock."""
    gone = []
    for gap, step, call_class in schedule:
        clock.advance(gap / 1e6)
        clock.set_back(step)
        ask = Ask(1_000_000, call_class)
        admission = store.open(CIRCUIT, AdmissionPolicy(None, limit), ask).outcome
        if isinstance(admission, Granted):
            gone.append(store.peek(CIRCUIT).now + admission.wait_us)
    return gone


@pytest.mark.property(15)
@pytest.mark.fault("LI-01")
@settings(max_examples=200)
@given(limit=limits, schedule=st.lists(st.tuples(gaps, steps, classes), max_size=120))
def test_setting_the_machines_clock_neither_frees_a_burst_nor_locks_out(
    limit: LimitPolicy, schedule: list[tuple[int, int, CallClass]]
) -> None:
    """No window holds more than the limit, and the calls are the same as they would be without the steps."""
    stepped, steady = FakeClock(), FakeClock()

    gone = stepping(MemoryState(stepped), stepped, limit, schedule)

    assert most_in_any(MINUTE_US, gone) <= limit.per_minute
    assert most_in_any(HOUR_US, gone) <= limit.per_hour
    assert gone == stepping(
        MemoryState(steady), steady, limit, [(gap, 0, call_class) for gap, _, call_class in schedule]
    )


@pytest.mark.property(15)
@pytest.mark.fault("LI-01")
@settings(max_examples=25)
@given(limit=limits, schedule=st.lists(st.tuples(gaps, steps, classes), max_size=60))
def test_the_store_that_processes_share_keeps_the_limit_over_clock_steps_as_well(
    tmp_path_factory: pytest.TempPathFactory,
    limit: LimitPolicy,
    schedule: list[tuple[int, int, CallClass]],
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
@given(
    limit=st.builds(
        LimitPolicy,
        st.integers(1, 60),
        st.integers(1, 400),
        st.just(2 * HOUR_US),
        st.sampled_from([LimitMode.ANY_WINDOW, LimitMode.EXACT]),
    )
)
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
@given(limit=limits_in(*LimitMode), schedule=schedules, back=st.integers(1, START), call_class=classes)
def test_a_clock_that_goes_back_all_the_same_lets_calls_wait_no_longer_than_ever(
    limit: LimitPolicy, schedule: list[Asked], back: int, call_class: CallClass
) -> None:
    """As when a machine was started again. A pause is forgotten then; a bucket is full, or owes what it may owe."""
    provider, now = Provider(limit), START
    for asked in schedule:
        now += asked.gap
        provider.ask(now, asked.patience, asked.call_class)
        provider.pause(now, asked.pause)
    provider.pause(now, HOUR_US)

    for _ in range(3):
        assert waited(provider.ask(now - back, limit.max_wait_us, call_class)) <= longest_wait(limit)


@pytest.mark.property(15)
@pytest.mark.fault("LI-01")
@given(limit=limits_in(*LimitMode), schedule=schedules)
def test_after_the_machine_was_started_again_the_limit_holds_as_on_the_first_day(
    limit: LimitPolicy, schedule: list[Asked]
) -> None:
    """Whatever was remembered from before is not in the way, and does not count."""
    provider, fresh = Provider(limit), Provider(limit)
    now = START + 100 * HOUR_US
    for asked in schedule:
        now += asked.gap
        provider.ask(now, asked.patience, asked.call_class)
    now = START
    for asked in schedule:
        now += asked.gap
        again = provider.ask(now, asked.patience, asked.call_class)
        assert waited(again) == waited(fresh.ask(now, asked.patience, asked.call_class))


@pytest.mark.fault("LI-05")
@given(limit=st.integers(max_value=0), window=st.integers(max_value=0))
def test_a_limit_that_lets_nothing_through_is_an_error_at_once(limit: int, window: int) -> None:
    for impossible in ((limit, MINUTE_US), (60, window)):
        with pytest.raises(ValueError, match="at least one call"):
            TokenBucket.of(*impossible)


@pytest.mark.fault("LI-05")
@given(
    before=limits_in(*LimitMode), after=limits_in(*LimitMode), calls=st.integers(0, 60), call_class=classes
)
def test_a_limit_changed_under_way_never_makes_calls_wait_longer_than_the_new_one_can(
    before: LimitPolicy, after: LimitPolicy, calls: int, call_class: CallClass
) -> None:
    provider = Provider(before)
    for _ in range(calls):
        provider.ask(START)
        provider.ask(START, call_class=CallClass.BATCH)

    provider.policy = AdmissionPolicy(None, after)

    assert waited(provider.ask(START, call_class=call_class)) <= longest_wait(after)


@pytest.mark.fault("LI-06")
@given(
    limit=limits_in(*LimitMode),
    pause=st.integers(1, 2 * HOUR_US),
    share=st.floats(0, 1, exclude_max=True),
    call_class=classes,
)
def test_nothing_goes_before_a_pause_is_over(
    limit: LimitPolicy, pause: int, share: float, call_class: CallClass
) -> None:
    provider, held = Provider(limit), min(pause, HOUR_US)
    provider.pause(START, pause)
    now = START + int(held * share)

    assert waited(provider.ask(now, call_class=call_class)) == START + held - now


@pytest.mark.property(15)
@given(limit=limits, schedule=schedules, pause=st.integers(1, 10_000_000))
def test_after_a_pause_the_limit_holds_as_ever(limit: LimitPolicy, schedule: list[Asked], pause: int) -> None:
    """All that queued during it do not come at once, and the first of them does not wait longer than it has to."""
    provider = Provider(limit)
    provider.pause(START, pause)
    for number, asked in enumerate(schedule):
        admission = provider.ask(START, PATIENT, asked.call_class)
        if isinstance(admission, Granted):
            assert admission.wait_us >= pause
            assert number > 0 or admission.wait_us == pause

    gone = provider.gone[0] + provider.gone[1]
    assert most_in_any(MINUTE_US, gone) <= limit.per_minute
    assert most_in_any(HOUR_US, gone) <= limit.per_hour


def fullest_two(first: LimitPolicy, second: LimitPolicy, window: int) -> int:
    """The most calls that two limits, which take turns at one store, let through in a window.

    That is the larger limit of each share. In the mode any_window the smaller one may have the larger reach (20 an hour
    reaches 189 s ahead, 29 only 129 s): then a call or two more fit in.
    """
    most = 0
    for shares in (
        [first.limiter.shared, second.limiter.shared],
        [share for share in (first.limiter.reserved, second.limiter.reserved) if share],
    ):
        buckets = [share.minute if window == MINUTE_US else share.hour for share in shares]
        if not buckets:
            continue
        if first.mode is LimitMode.EXACT:
            most += max(bucket.limit for bucket in buckets)
            continue
        reach, interval = max(b.reach_us for b in buckets), min(b.interval_us for b in buckets)
        most += 1 + (window + reach - 1) // interval
    return most


takers = st.lists(
    st.tuples(gaps, st.booleans(), st.integers(1, 40), classes, st.sampled_from([0, 1_000_000, PATIENT])),
    min_size=2,
    max_size=12,
)
"""After so long, one of two processes asks so often, for such a class, with such patience."""
waits = st.sampled_from([0, 5_000_000, 60_000_000, LONGEST_TURN_US])


def in_turns(
    first: LimitPolicy, second: LimitPolicy, taken: list[tuple[int, bool, int, CallClass, int]]
) -> list[int]:
    """When calls go for which two processes ask in turn, each by its own policy, at one store."""
    provider, now = Provider(first), START
    for gap, is_second, times, call_class, patience in taken:
        now += gap
        provider.policy = AdmissionPolicy(None, second if is_second else first)
        for _ in range(times):
            provider.ask(now, patience, call_class)
    return provider.gone[0] + provider.gone[1]


@pytest.mark.property(15)
@pytest.mark.fault("LI-05")
@settings(max_examples=300)
@given(limit=limits, wait=waits, taken=takers)
def test_processes_that_let_calls_wait_for_different_times_keep_the_limit_together(
    limit: LimitPolicy, wait: int, taken: list[tuple[int, bool, int, CallClass, int]]
) -> None:
    gone = in_turns(limit, replace(limit, max_wait_us=wait), taken)

    assert most_in_any(MINUTE_US, gone) <= limit.per_minute
    assert most_in_any(HOUR_US, gone) <= limit.per_hour


@pytest.mark.property(15)
@pytest.mark.fault("LI-05")
@settings(max_examples=300)
@given(
    mode=st.sampled_from([LimitMode.ANY_WINDOW, LimitMode.EXACT]),
    minutes=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    hours=st.tuples(st.integers(20, 200), st.integers(20, 200)),
    longest=st.tuples(waits, waits),
    taken=takers,
)
def test_processes_of_which_some_know_a_changed_limit_keep_the_larger_one_together(
    mode: LimitMode,
    minutes: tuple[int, int],
    hours: tuple[int, int],
    longest: tuple[int, int],
    taken: list[tuple[int, bool, int, CallClass, int]],
) -> None:
    """None is reserved, so that all calls go by one share. (By the smallest limits of an hour see `furthest_us`.)"""
    first, second = (
        LimitPolicy(minute, hour, wait, mode, reserved_percent=0)
        for minute, hour, wait in zip(minutes, hours, longest, strict=True)
    )

    gone = in_turns(first, second, taken)

    assert most_in_any(MINUTE_US, gone) <= fullest_two(first, second, MINUTE_US) <= max(minutes) + 1
    assert most_in_any(HOUR_US, gone) <= fullest_two(first, second, HOUR_US) <= max(hours) + 2


@pytest.mark.property(15)
@pytest.mark.fault("LI-05")
@pytest.mark.parametrize("mode", [LimitMode.ANY_WINDOW, LimitMode.EXACT])
@pytest.mark.parametrize("per_minute", [60, 6])
def test_a_longest_wait_that_is_lowered_forgets_no_turn_that_was_promised(
    mode: LimitMode, per_minute: int
) -> None:
    """Two hundred batch calls have reserved what they may, of the same limit or of a smaller one, when it is lowered."""
    patient = LimitPolicy(per_minute, 1000, 60_000_000, mode)
    hurried = LimitPolicy(60, 1000, 5_000_000, mode)
    taken = [(0, False, 200, CallClass.BATCH, PATIENT)]
    taken += [(1_000_000, True, 20, call_class, PATIENT) for _ in range(90) for call_class in CallClass]

    gone = in_turns(patient, hurried, taken)

    assert 55 <= most_in_any(MINUTE_US, gone) <= 60
