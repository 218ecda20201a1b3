"""However many processes share a store, and whenever it is lost: together they never go beyond a limit."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.model.calling import CallClass, LimitMode
from core.policies.admission import (
    AdmissionPolicy,
    Ask,
    Granted,
    RefusedByCircuit,
    RefusedByLimiter,
    Settlement,
)
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.override import OverrideMode
from core.policies.rate_limit import HOUR_US, MINUTE_US, LimitPolicy
from core.state.base import Ended
from core.state.guarded import GuardedState
from core.state.memory import MemoryState
from core.state.stand_in import share_of
from tests.fakes import FakeChance, FakeClock
from tests.shaky import ShakyState

CIRCUIT = "address.juso"

limits = st.builds(
    LimitPolicy,
    per_minute=st.integers(1, 200),
    per_hour=st.integers(1, 2000),
    max_wait_us=st.sampled_from([0, 5_000_000, 30_000_000]),
    reserved_percent=st.sampled_from([0, 20, 50]),
)
steps = st.lists(
    st.tuples(
        st.integers(0, 7),
        st.sampled_from(list(CallClass)),
        st.sampled_from([0.0, 0.0, 0.0, 0.001, 0.5, 2.0, 7.0, 61.0]),
        st.integers(1, 30),
    ),
    max_size=60,
)

RUSH = [(0, CallClass.INTERACTIVE, 0.0, 100)]
"""All that the store lets go at once, or reserves."""
GREED = [(number, CallClass.INTERACTIVE, 0.025, 2) for number in range(2600)]
"""For a minute, each process in its turn takes what it can."""


def fullest(calls: Sequence[int], window_us: int) -> int:
    """The most calls in any half-open window of that length."""
    calls = sorted(calls)
    return max((bisect_left(calls, at + window_us) - place for place, at in enumerate(calls)), default=0)


def sharing(number: int, store: ShakyState, clock: FakeClock) -> list[GuardedState]:
    """So many processes that know of each other."""
    states = [
        GuardedState(store, MemoryState(clock), clock, FakeChance([0.5]), in_background=False)
        for _ in range(number)
    ]
    for _ in range(2):
        for state in states:
            state.tend()
        clock.advance(10)
    return states


class Calls:
    """What goes when, of the calls that several processes make."""

    def __init__(self, states: Sequence[GuardedState], limit: LimitPolicy, clock: FakeClock) -> None:
        self._states = states
        self._policy = AdmissionPolicy(None, limit, None)
        self._clock = clock
        self.went: list[int] = []

    def make(self, process: int, call_class: CallClass, times: int) -> None:
        """So many calls of one process, each as patient as it may be."""
        ask = Ask(10**12, call_class)
        for _ in range(times):
            state = self._states[process % len(self._states)]
            outcome = state.open(CIRCUIT, self._policy, ask).outcome
            if isinstance(outcome, Granted):
                self.went.append(round(self._clock.monotonic() * 1e6) + outcome.wait_us)


@pytest.mark.property(27)
@pytest.mark.fault("LI-03")
@settings(max_examples=300)
@given(processes=st.integers(1, 8), limit=limits, before=steps, after=steps)
@example(processes=4, limit=LimitPolicy(60, 9000, 0, reserved_percent=0), before=RUSH, after=GREED)
@example(processes=4, limit=LimitPolicy(60, 9000, 30_000_000, reserved_percent=0), before=RUSH, after=GREED)
@example(processes=3, limit=LimitPolicy(101, 9000, 0), before=RUSH, after=GREED)
@example(processes=8, limit=LimitPolicy(7, 9000, 0), before=RUSH, after=GREED)
def test_no_window_holds_more_than_the_limit_when_the_store_is_lost(
    processes: int,
    limit: LimitPolicy,
    before: list[tuple[int, CallClass, float, int]],
    after: list[tuple[int, CallClass, float, int]],
) -> None:
    clock = FakeClock()
    store = ShakyState(clock)
    calls = Calls(sharing(processes, store, clock), limit, clock)
    for is_lost, part in ((False, before), (True, after)):
        store.is_away = is_lost
        for process, call_class, pause, times in part:
            calls.make(process, call_class, times)
            clock.advance(pause)

    assert fullest(calls.went, MINUTE_US) <= limit.per_minute
    assert fullest(calls.went, HOUR_US) <= limit.per_hour


@pytest.mark.fault("LI-03")
@given(
    processes=st.integers(1, 20),
    per_minute=st.integers(1, 5000),
    per_hour=st.integers(1, 50_000),
    mode=st.sampled_from(LimitMode),
    reserved=st.sampled_from([0, 20]),
)
def test_the_shares_of_all_processes_are_no_more_than_the_whole_and_not_much_less(
    processes: int, per_minute: int, per_hour: int, mode: LimitMode, reserved: int
) -> None:
    if mode is LimitMode.EXACT:
        per_hour = min(per_hour, 10_000)
    policy = AdmissionPolicy(None, LimitPolicy(per_minute, per_hour, mode=mode, reserved_percent=reserved))

    shares = [share_of(policy, processes, place) for place in range(processes)]

    parts = [share.limits for share in shares if share is not None and share.limits is not None]
    for whole, got in (
        (per_minute, [part.per_minute for part in parts]),
        (per_hour, [part.per_hour for part in parts]),
    ):
        assert whole / 2 - 2 * processes <= sum(got) <= whole
    assert len(parts) == min(processes, per_minute, per_hour)
    assert shares[: len(parts)].count(None) == 0


def test_alone_a_process_goes_on_with_all_of_the_limit_and_what_is_left_of_it(clock: FakeClock) -> None:
    store = ShakyState(clock)
    (state,) = sharing(1, store, clock)
    policy = AdmissionPolicy(None, LimitPolicy(100, 1000, max_wait_us=0, reserved_percent=0), None)
    for _ in range(4):
        state.open(CIRCUIT, policy, Ask())
    store.is_away = True

    went = sum(isinstance(state.open(CIRCUIT, policy, Ask()).outcome, Granted) for _ in range(20))

    assert went == 6


def test_a_process_that_has_no_share_says_so_and_serves_what_is_kept(clock: FakeClock) -> None:
    store = ShakyState(clock)
    states = sharing(3, store, clock)
    policy = AdmissionPolicy(None, LimitPolicy(per_minute=2, per_hour=100), None)
    store.is_away = True

    outcomes = [state.open(CIRCUIT, policy, Ask(10**9)).outcome for state in states]

    refusals = [outcome for outcome in outcomes if isinstance(outcome, RefusedByLimiter)]
    assert sum(refusal.retry_after_us == 60_000_000 for refusal in refusals) == 1


@pytest.mark.fault("BR-06")
def test_a_circuit_that_was_open_stays_open_until_its_time_is_over(clock: FakeClock) -> None:
    store = ShakyState(clock)
    state, other = sharing(2, store, clock)
    policy = AdmissionPolicy(BreakerPolicy(failure_threshold=1), None, None)
    store.settle(CIRCUIT, policy, Ended(Granted(0), Settlement.ILL))
    assert state.open(CIRCUIT, policy, Ask()).outcome == RefusedByCircuit(60_000_000)
    clock.advance(20)
    store.is_away = True

    assert state.open(CIRCUIT, policy, Ask()).outcome == RefusedByCircuit(40_000_000)
    assert isinstance(other.open(CIRCUIT, policy, Ask()).outcome, Granted)
    clock.advance(40)
    probe = state.open(CIRCUIT, policy, Ask()).outcome
    assert isinstance(probe, Granted)
    assert probe.is_probe


@pytest.mark.fault("BR-06")
def test_a_circuit_that_a_failure_just_opened_stays_open(clock: FakeClock) -> None:
    store = ShakyState(clock)
    (state,) = sharing(1, store, clock)
    policy = AdmissionPolicy(BreakerPolicy(failure_threshold=1), None, None)
    granted = state.open(CIRCUIT, policy, Ask()).outcome
    assert isinstance(granted, Granted)
    assert state.settle(CIRCUIT, policy, Ended(granted, Settlement.ILL)).opened
    store.is_away = True

    assert state.open(CIRCUIT, policy, Ask()).outcome == RefusedByCircuit(60_000_000)


@pytest.mark.fault("BR-06")
def test_what_an_operator_forced_open_stays_so_in_every_process_that_was_told(clock: FakeClock) -> None:
    store = ShakyState(clock)
    state, other = sharing(2, store, clock)
    policy = AdmissionPolicy(BreakerPolicy(), None, None)
    other.steer(CIRCUIT, OverrideMode.FORCED_OPEN, seconds=90, by="kim", reason="a: b")
    told = state.open(CIRCUIT, policy, Ask()).outcome
    clock.advance(30)
    store.is_away = True

    assert told == RefusedByCircuit(90_000_000, forced_by="kim: a: b")
    assert state.open(CIRCUIT, policy, Ask()).outcome == RefusedByCircuit(60_000_000, forced_by="kim: a: b")


def test_a_call_without_a_breaker_is_let_through_where_another_was_refused(clock: FakeClock) -> None:
    store = ShakyState(clock)
    (state,) = sharing(1, store, clock)
    guarded, unguarded = AdmissionPolicy(BreakerPolicy(1), None, None), AdmissionPolicy(None, None, None)
    store.settle(CIRCUIT, guarded, Ended(Granted(0), Settlement.ILL))
    state.open(CIRCUIT, guarded, Ask())
    store.is_away = True

    assert isinstance(state.open(CIRCUIT, unguarded, Ask()).outcome, Granted)
