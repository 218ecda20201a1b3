"""What admission adds to breaker, limits and budget: their order, patience, pauses, and an operator's word."""

from __future__ import annotations

import pytest

from core.model.calling import CallClass, LimitMode
from core.model.health import CircuitState
from core.policies.admission import (
    AdmissionPolicy,
    Ask,
    Granted,
    ProviderState,
    RefusedByCircuit,
    RefusedByLimiter,
    Settlement,
    admit,
    circuit_state,
    may_retry,
    refused_for,
    settle,
)
from core.policies.circuit_breaker import LONGEST_WAIT_US, BreakerPolicy, CircuitBreaker
from core.policies.override import Override, OverrideMode
from core.policies.rate_limit import HOUR_US, MINUTE_US, Bookings, LimitPolicy, TokenBucket
from core.policies.retry_budget import RetryBudget
from core.policies.tally import Slice

EAGER, PATIENT = Ask(), Ask(patience_us=10**12)
ILL = ProviderState(CircuitBreaker(failures=5, opened_at=1000, generation=1))
RECOVERED = 1000 + 60_000_000
ONE_EACH = LimitPolicy(per_minute=1, per_hour=1, max_wait_us=90_000_000)
POLICY = AdmissionPolicy(BreakerPolicy(), ONE_EACH)
NO_LIMITS = AdmissionPolicy(limits=None)
ONLY_BREAKER = AdmissionPolicy(BreakerPolicy(), None, None)


def word(mode: OverrideMode, since: int = 0, until: int = 10**12) -> Override:
    return Override(mode, until, "kim", "moving house", since)


def granted(state: ProviderState, policy: AdmissionPolicy, now: int, ask: Ask = EAGER) -> Granted:
    """What an attempt is granted that has to be."""
    _, admission = admit(state, policy, ask, now)
    assert isinstance(admission, Granted)
    return admission


def test_without_any_guard_everything_goes_and_nothing_changes() -> None:
    unguarded = AdmissionPolicy(None, None, None)

    after, admission = admit(ProviderState(), unguarded, EAGER, 1000)

    assert after == ProviderState()
    assert admission == Granted(0, at=1000)
    for settlement in Settlement:
        assert settle(after, unguarded, Granted(0), settlement, 1001) is after
    assert may_retry(after, unguarded)


def test_the_circuit_is_asked_before_the_limits() -> None:
    used_up = ProviderState(ILL.breaker, Bookings(10**9, 10**9))

    assert admit(used_up, POLICY, EAGER, 1000) == (used_up, RefusedByCircuit(60_000_000))


def test_what_is_granted_tells_what_the_decision_saw() -> None:
    policy = AdmissionPolicy(BreakerPolicy(), LimitPolicy(10, 100, reserved_percent=50))
    before = ProviderState(CircuitBreaker(failures=3, generation=4), Bookings(1, 2, 3, 4))

    after, admission = admit(before, policy, EAGER, 1000)

    assert admission == Granted(4, False, 0, True, 3, True, Bookings(1, 2, 3, 4), 1000)
    assert after == before._replace(booked=Bookings(1, 2, 1000 + 12_000_000, 1000 + 78_260_870))


def test_batch_work_is_granted_by_the_shared_share() -> None:
    policy = AdmissionPolicy(None, LimitPolicy(10, 100, reserved_percent=50))

    after, admission = admit(ProviderState(), policy, Ask(call_class=CallClass.BATCH), 1000)

    assert admission == Granted(0, seen=Bookings(), at=1000)
    assert after.booked == Bookings(1000 + 12_000_000, 1000 + 78_260_870)


def test_batch_work_waits_for_the_shared_share_while_people_go_by_the_reserved_one() -> None:
    policy = AdmissionPolicy(None, LimitPolicy(10, 100, 90_000_000, reserved_percent=50))
    state, _ = admit(ProviderState(), policy, Ask(call_class=CallClass.BATCH), 1000)

    batch = granted(state, policy, 1000, Ask(10**12, CallClass.BATCH))

    assert (batch.wait_us, batch.is_reserved) == (12_000_000, False)
    assert granted(state, policy, 1000).is_reserved


@pytest.mark.parametrize(("patience", "is_granted"), [(60, True), (59, False)])
def test_a_call_waits_no_longer_than_its_own_deadline_allows(patience: int, is_granted: bool) -> None:
    policy = AdmissionPolicy(None, LimitPolicy(per_minute=1, per_hour=2_000, max_wait_us=90_000_000))
    hour = TokenBucket.of(2_000, HOUR_US)
    state, _ = admit(ProviderState(), policy, EAGER, 1000)

    after, admission = admit(state, policy, Ask(patience * 1_000_000), 1000)

    if is_granted:
        assert admission == Granted(0, wait_us=60_000_000, seen=state.booked, at=1000)
        assert after.booked == Bookings(1000 + 2 * MINUTE_US, 1000 + MINUTE_US + hour.interval_us)
    else:
        assert admission == RefusedByLimiter(60_000_000, state.booked, 1000)
        assert after is state


@pytest.mark.parametrize(("longest", "is_granted"), [(60_000_000, True), (59_999_999, False)])
def test_a_call_waits_no_longer_than_the_policy_allows(longest: int, is_granted: bool) -> None:
    policy = AdmissionPolicy(None, LimitPolicy(per_minute=1, per_hour=2_000, max_wait_us=longest))
    state, _ = admit(ProviderState(), policy, EAGER, 1000)

    assert isinstance(admit(state, policy, PATIENT, 1000)[1], Granted) is is_granted
    assert admit(state, policy, EAGER, 1000)[1] == RefusedByLimiter(60_000_000, state.booked, 1000)


def test_a_call_that_has_no_time_left_may_still_go_at_once() -> None:
    """Whether it may start at all is for its deadline to say."""
    assert isinstance(admit(ProviderState(), POLICY, Ask(-1), 1000)[1], Granted)


def test_bookings_from_before_the_clock_was_set_back_hold_nobody_up() -> None:
    policy = AdmissionPolicy(None, LimitPolicy(1, 1, max_wait_us=0))
    spoilt = ProviderState(booked=Bookings(10**15, 10**15))

    after, admission = admit(spoilt, policy, EAGER, 1000)

    assert admission == Granted(0, seen=Bookings(), at=1000)
    assert after.booked == Bookings(1000 + MINUTE_US, 1000 + HOUR_US)


def test_an_exact_limit_is_asked_with_what_the_store_remembers() -> None:
    policy = AdmissionPolicy(None, LimitPolicy(1, 9, 90_000_000, LimitMode.EXACT))
    state = ProviderState(booked=Bookings(admitted=1))

    after, admission = admit(state, policy, PATIENT, 1000, lambda _back, _is_reserved: 400)

    assert admission == Granted(0, wait_us=400 + MINUTE_US - 1000, seen=state.booked, at=1000)
    assert after.booked.admitted == 2


def test_an_exact_limit_forgets_what_was_before_the_clock_was_set_back() -> None:
    policy = AdmissionPolicy(None, LimitPolicy(1, 9, 90_000_000, LimitMode.EXACT))
    state = ProviderState(booked=Bookings(admitted=1))

    after, admission = admit(state, policy, PATIENT, 1000, lambda _back, _is_reserved: 10**12)

    assert isinstance(admission, Granted)
    assert (admission.wait_us, after.booked.admitted) == (0, 1)


def test_a_refused_probe_is_not_leased() -> None:
    state = ProviderState(ILL.breaker, Bookings(10**12), paused_at=0, paused_until=10**12)

    after, admission = admit(state, POLICY, EAGER, 100_000_000)

    assert isinstance(admission, RefusedByLimiter)
    assert after is state


def test_a_probe_that_waits_for_its_turn_is_leased_from_then_on() -> None:
    state = ProviderState(ILL.breaker, paused_at=RECOVERED, paused_until=RECOVERED + 5)

    after, admission = admit(state, POLICY, PATIENT, RECOVERED)

    assert admission == Granted(2, True, 5, True, 5, False, Bookings(), RECOVERED)
    assert after.breaker == CircuitBreaker(5, 1000, RECOVERED + 5 + 31_000_000, 1, 2)


def test_a_half_open_circuit_that_has_its_probe_refuses_the_next_call() -> None:
    probing, _ = admit(ILL, NO_LIMITS, EAGER, RECOVERED)

    assert admit(probing, NO_LIMITS, EAGER, RECOVERED + 1) == (probing, RefusedByCircuit(30_999_999))


BY_CHECK = AdmissionPolicy(BreakerPolicy(probes_by_check=True), None)


def test_where_health_checks_probe_a_users_call_never_does() -> None:
    assert admit(ILL, BY_CHECK, EAGER, RECOVERED) == (ILL, RefusedByCircuit(1_000_000, wants_check=True))
    assert admit(ILL, BY_CHECK, EAGER, RECOVERED - 1) == (ILL, RefusedByCircuit(1))

    probing, check = admit(ILL, BY_CHECK, Ask(is_check=True), RECOVERED)

    assert isinstance(check, Granted)
    assert check.is_probe
    assert admit(probing, BY_CHECK, EAGER, RECOVERED) == (probing, RefusedByCircuit(31_000_000))


def test_where_health_checks_probe_a_check_while_all_is_well_is_no_probe() -> None:
    assert granted(ProviderState(), BY_CHECK, 5, Ask(is_check=True)) == Granted(0, at=5)


@pytest.mark.parametrize(
    ("state", "policy", "owes"),
    [
        (ProviderState(), POLICY, False),
        (ProviderState(CircuitBreaker(failures=1)), POLICY, True),
        (ProviderState(retry_debt=1), POLICY, True),
        (ProviderState(), AdmissionPolicy(BreakerPolicy(failure_percent=50)), True),
        (ProviderState(), AdmissionPolicy(BreakerPolicy(slow_percent=50)), True),
        (ProviderState(), AdmissionPolicy(None, None), False),
    ],
)
def test_the_store_has_to_hear_of_a_success_that_would_change_something(
    state: ProviderState, policy: AdmissionPolicy, owes: bool
) -> None:
    assert granted(state, policy, 1000).owes is owes


@pytest.mark.parametrize("settlement", [Settlement.WELL, Settlement.NOTHING])
def test_what_nobody_has_to_hear_of_would_change_nothing(settlement: Settlement) -> None:
    state = ProviderState(CircuitBreaker(generation=3))

    admission = granted(state, POLICY, 1000)

    assert not admission.owes
    assert settle(state, POLICY, admission, settlement, 1001, is_slow=True) is state


def test_a_circuit_without_a_breaker_is_closed_and_learns_nothing() -> None:
    policy = AdmissionPolicy(breaker=None)

    assert circuit_state(ILL, policy, 1001) is CircuitState.CLOSED
    assert circuit_state(ILL, POLICY, 1001) is CircuitState.OPEN
    assert granted(ILL, policy, 1001).is_probe is False
    assert settle(ILL, policy, Granted(1), Settlement.WELL, 1001) is ILL
    assert settle(ILL, policy, Granted(1), Settlement.ILL, 1001).breaker is ILL.breaker


def test_a_success_closes_the_circuit_and_gives_the_whole_retry_budget_back() -> None:
    probing, probe = admit(ILL._replace(retry_debt=9_000), NO_LIMITS, EAGER, RECOVERED)
    assert isinstance(probe, Granted)

    closed = settle(probing, NO_LIMITS, probe, Settlement.WELL, RECOVERED + 1)

    assert closed == ProviderState(CircuitBreaker(generation=3))


def test_a_probe_that_fails_opens_the_circuit_again() -> None:
    probing, probe = admit(ILL, ONLY_BREAKER, EAGER, RECOVERED)
    assert isinstance(probe, Granted)

    opened = settle(probing, ONLY_BREAKER, probe, Settlement.ILL, RECOVERED + 1)

    assert opened == ProviderState(CircuitBreaker(6, RECOVERED + 1, generation=3))


@pytest.mark.parametrize("settlement", [Settlement.THROTTLED, Settlement.NOTHING])
def test_a_probe_that_proves_nothing_lets_the_next_one_go(settlement: Settlement) -> None:
    probing, probe = admit(ILL, ONLY_BREAKER, EAGER, RECOVERED)
    assert isinstance(probe, Granted)

    released = settle(probing, ONLY_BREAKER, probe, settlement, RECOVERED + 1)

    assert released.breaker == CircuitBreaker(5, 1000, generation=2)
    assert granted(released, ONLY_BREAKER, RECOVERED + 1).is_probe


@pytest.mark.parametrize("settlement", [Settlement.THROTTLED, Settlement.NOTHING])
def test_an_attempt_that_is_no_probe_releases_none(settlement: Settlement) -> None:
    probing, _ = admit(ILL, ONLY_BREAKER, EAGER, RECOVERED)

    assert settle(probing, ONLY_BREAKER, Granted(2), settlement, RECOVERED + 1) is probing


@pytest.mark.parametrize(
    ("settlement", "debt"),
    [
        (Settlement.WELL, 1_900),
        (Settlement.ILL, 3_000),
        (Settlement.THROTTLED, 3_000),
        (Settlement.NOTHING, 2_000),
    ],
)
def test_each_attempt_spends_the_retry_budget_or_fills_it(settlement: Settlement, debt: int) -> None:
    for breaker in (BreakerPolicy(), None):
        policy = AdmissionPolicy(breaker, None)

        after = settle(ProviderState(retry_debt=2_000), policy, Granted(0), settlement, 1000)

        assert after.retry_debt == debt


def test_without_a_budget_no_debt_is_made_and_every_retry_is_allowed() -> None:
    state = ProviderState(retry_debt=10_000)

    for settlement in Settlement:
        assert settle(state, ONLY_BREAKER, Granted(0), settlement, 1000).retry_debt == 10_000
    assert may_retry(state, ONLY_BREAKER)
    assert not may_retry(state, POLICY)
    assert may_retry(ProviderState(), POLICY)


def test_slow_attempts_are_told_to_the_breaker() -> None:
    policy = AdmissionPolicy(BreakerPolicy(slow_percent=50, window_us=1000), None, None)

    after = settle(ProviderState(), policy, Granted(0), Settlement.WELL, 1050, is_slow=True)
    after = settle(after, policy, Granted(0), Settlement.ILL, 1051, is_slow=True)
    after = settle(after, policy, Granted(0), Settlement.WELL, 1052)

    assert after.breaker.tally == (Slice(10, 3, 1, 2),)


@pytest.mark.parametrize(("now", "end"), [(999, 0), (1000, 1000 + 5), (1004, 1000 + 5), (1005, 0)])
def test_a_pause_holds_from_the_moment_it_was_asked_for(now: int, end: int) -> None:
    state = settle(ProviderState(), POLICY, Granted(0), Settlement.NOTHING, 1000, pause_us=5)

    assert (state.paused_at, state.paused_until) == (1000, 1005)
    assert state.pause_end(now) == end


def test_a_call_waits_for_the_end_of_a_pause_and_then_for_its_turn() -> None:
    policy = AdmissionPolicy(None, LimitPolicy(1, 2_000, max_wait_us=90_000_000))
    paused = ProviderState(paused_at=1000, paused_until=3000)

    first, admission = admit(paused, policy, PATIENT, 2000)
    assert admission == Granted(0, wait_us=1000, seen=Bookings(), at=2000)
    assert first.booked.minute_full_at == 3000 + MINUTE_US

    assert admit(first, policy, EAGER, 2000)[1] == RefusedByLimiter(1000 + MINUTE_US, first.booked, 2000)
    assert admit(paused, policy, Ask(999), 2000) == (paused, RefusedByLimiter(1000, Bookings(), 2000))
    assert isinstance(admit(paused, policy, EAGER, 3000)[1], Granted)


def test_without_limits_of_our_own_a_pause_holds_all_the_same() -> None:
    paused = ProviderState(paused_at=1000, paused_until=3000)

    assert admit(paused, NO_LIMITS, Ask(1000), 2000) == (paused, Granted(0, wait_us=1000, at=2000))
    assert admit(paused, NO_LIMITS, Ask(999), 2000) == (paused, RefusedByLimiter(1000, at=2000))
    assert admit(paused, NO_LIMITS, EAGER, 2999) == (paused, RefusedByLimiter(1, at=2999))
    assert admit(paused, NO_LIMITS, EAGER, 3000) == (paused, Granted(0, at=3000))
    assert admit(paused, NO_LIMITS, PATIENT, 999) == (paused, Granted(0, at=999))


def test_a_probe_that_waits_for_as_long_as_any_call_may_holds_its_lease() -> None:
    """A second one does not go meanwhile, though it will be a quarter of an hour."""
    ill = ILL._replace(paused_at=RECOVERED, paused_until=RECOVERED + LONGEST_WAIT_US)

    probing, probe = admit(ill, NO_LIMITS, PATIENT, RECOVERED)

    assert isinstance(probe, Granted)
    assert probe.wait_us == LONGEST_WAIT_US
    assert isinstance(admit(probing, NO_LIMITS, PATIENT, RECOVERED)[1], RefusedByCircuit)


def test_a_pause_that_lies_in_the_future_holds_nobody() -> None:
    """The clock was set back."""
    paused = ProviderState(paused_at=5000, paused_until=9000)

    assert granted(paused, POLICY, 4999).wait_us == 0


def test_a_pause_never_shortens_one_that_holds() -> None:
    state = ProviderState(paused_at=1000, paused_until=2000)

    shorter = settle(state, POLICY, Granted(0), Settlement.NOTHING, 1500, pause_us=10)
    longer = settle(state, POLICY, Granted(0), Settlement.NOTHING, 1500, pause_us=1000)
    later = settle(state, POLICY, Granted(0), Settlement.NOTHING, 2000, pause_us=10)

    assert (shorter.paused_at, shorter.paused_until) == (1500, 2000)
    assert (longer.paused_at, longer.paused_until) == (1500, 2500)
    assert (later.paused_at, later.paused_until) == (2000, 2010)


def test_a_pause_is_cut_to_an_hour() -> None:
    state = settle(ProviderState(), POLICY, Granted(0), Settlement.THROTTLED, 1000, pause_us=HOUR_US + 1)

    assert state.pause_end(1000) == 1000 + HOUR_US


def test_the_shortest_pause_is_a_microsecond() -> None:
    state = settle(ProviderState(), POLICY, Granted(0), Settlement.THROTTLED, 1000, pause_us=1)

    assert state.pause_end(1000) == 1001


def test_a_pause_set_before_the_clock_went_back_does_not_lengthen_the_next_one() -> None:
    state = ProviderState(paused_at=10**10, paused_until=10**10 + HOUR_US)

    after = settle(state, POLICY, Granted(0), Settlement.NOTHING, 1000, pause_us=5)

    assert (after.paused_at, after.paused_until) == (1000, 1005)


@pytest.mark.parametrize("pause", [0, -1])
def test_no_pause_changes_nothing(pause: int) -> None:
    """Neither zero nor a time in the past, which a provider may well send, holds anybody back."""
    state = ProviderState()

    assert settle(state, POLICY, Granted(0), Settlement.NOTHING, 1000, pause_us=pause) is state


def test_a_circuit_forced_open_refuses_everyone_and_says_who_and_why() -> None:
    state = ProviderState(override=word(OverrideMode.FORCED_OPEN, until=5000))

    assert admit(state, POLICY, PATIENT, 1000) == (
        state,
        RefusedByCircuit(4000, forced_by="kim: moving house"),
    )
    assert circuit_state(state, POLICY, 1000) is CircuitState.OPEN


def test_a_circuit_forced_open_refuses_also_the_probe() -> None:
    state = ILL._replace(override=word(OverrideMode.FORCED_OPEN))

    assert isinstance(admit(state, BY_CHECK, Ask(is_check=True), RECOVERED)[1], RefusedByCircuit)


@pytest.mark.parametrize("settlement", [Settlement.WELL, Settlement.ILL])
def test_a_circuit_forced_closed_lets_everyone_through_and_learns_nothing(settlement: Settlement) -> None:
    for breaker in (ILL.breaker, CircuitBreaker(failures=4, generation=7)):
        state = ProviderState(breaker, override=word(OverrideMode.FORCED_CLOSED))

        after, admission = admit(state, ONLY_BREAKER, EAGER, RECOVERED)

        assert after == state
        assert admission == Granted(-1, False, 0, True, breaker.failures, at=RECOVERED)
        assert settle(after, ONLY_BREAKER, admission, settlement, RECOVERED + 1) == state
        assert circuit_state(state, ONLY_BREAKER, 1001) is CircuitState.CLOSED


def test_what_was_admitted_before_a_circuit_was_forced_still_counts() -> None:
    state = ProviderState(override=word(OverrideMode.FORCED_CLOSED))

    assert settle(state, ONLY_BREAKER, Granted(0), Settlement.ILL, 1000).breaker.failures == 1


def test_a_forced_circuit_keeps_the_limits() -> None:
    state = ProviderState(booked=Bookings(10**9), override=word(OverrideMode.FORCED_CLOSED))
    policy = AdmissionPolicy(limits=LimitPolicy(1, 1, max_wait_us=10**12))

    assert isinstance(admit(state, policy, EAGER, 1000)[1], RefusedByLimiter)


def test_a_circuit_in_shadow_counts_as_ever_and_refuses_nobody() -> None:
    state = ProviderState(override=word(OverrideMode.SHADOW))
    for number in range(5):
        state, admission = admit(state, ONLY_BREAKER, EAGER, 1000)
        assert admission == Granted(0, False, 0, number > 0, number, at=1000)
        state = settle(state, ONLY_BREAKER, admission, Settlement.ILL, 1000)

    assert state.breaker == ILL.breaker
    assert circuit_state(state, ONLY_BREAKER, 1000) is CircuitState.OPEN
    assert granted(state, ONLY_BREAKER, 1001).generation == -1
    assert not granted(state, ONLY_BREAKER, 1001).is_probe


def test_a_circuit_in_shadow_probes_as_ever_and_lets_the_others_through_uncounted() -> None:
    shadowed = ILL._replace(override=word(OverrideMode.SHADOW))

    probing, probe = admit(shadowed, ONLY_BREAKER, EAGER, RECOVERED)
    assert isinstance(probe, Granted)
    assert (probe.is_probe, probe.generation) == (True, 2)

    beside = granted(probing, ONLY_BREAKER, RECOVERED)
    assert (beside.is_probe, beside.generation) == (False, -1)
    assert settle(probing, ONLY_BREAKER, beside, Settlement.ILL, RECOVERED) is probing
    assert settle(probing, ONLY_BREAKER, probe, Settlement.WELL, RECOVERED).breaker.opened_at is None


def test_a_circuit_in_shadow_that_waits_for_a_check_lets_calls_through_uncounted() -> None:
    shadowed = ILL._replace(override=word(OverrideMode.SHADOW))

    call = granted(shadowed, BY_CHECK, RECOVERED)

    assert (call.is_probe, call.generation) == (False, -1)
    assert granted(shadowed, BY_CHECK, RECOVERED, Ask(is_check=True)).is_probe


@pytest.mark.parametrize("mode", OverrideMode)
@pytest.mark.parametrize(("now", "holds"), [(1999, False), (2000, True), (2999, True), (3000, False)])
def test_a_word_holds_from_when_it_was_given_until_it_ends_by_itself(
    mode: OverrideMode, now: int, holds: bool
) -> None:
    """Before it was given is after the clock was set back."""
    override = word(mode, since=2000, until=3000)
    state = ILL._replace(override=override)

    assert state.override_at(now) == (override if holds else None)
    refused_by_itself = RefusedByCircuit(1000 + 60_000_000 - now)
    assert (admit(state, ONLY_BREAKER, EAGER, now)[1] == refused_by_itself) is not holds


def test_without_a_word_the_breaker_decides() -> None:
    assert ProviderState().override_at(1000) is None
    assert circuit_state(ProviderState(), POLICY, 1000) is CircuitState.CLOSED
    assert circuit_state(ILL, POLICY, RECOVERED) is CircuitState.HALF_OPEN


def test_how_long_a_circuit_refuses_yet_is_told_without_asking_for_anything() -> None:
    def told(state: ProviderState, policy: AdmissionPolicy = ONLY_BREAKER) -> int:
        return refused_for(state, policy, 2000)

    assert told(ProviderState()) == 0
    assert told(ILL) == RECOVERED - 2000
    assert told(ILL, AdmissionPolicy(breaker=None)) == 0
    assert told(ILL._replace(override=word(OverrideMode.FORCED_OPEN, until=5000))) == 3000
    assert told(ILL._replace(override=word(OverrideMode.FORCED_OPEN, until=2000))) == RECOVERED - 2000
    assert told(ILL._replace(override=word(OverrideMode.FORCED_CLOSED))) == 0
    assert told(ILL._replace(override=word(OverrideMode.SHADOW))) == 0


def test_a_budget_of_another_size_is_used_as_it_is() -> None:
    policy = AdmissionPolicy(None, None, RetryBudget(tokens=2, percent=50))

    after = settle(ProviderState(), policy, Granted(0), Settlement.ILL, 1000)

    assert not may_retry(after, policy)
    assert settle(after, policy, Granted(0), Settlement.WELL, 1000).retry_debt == 500


@pytest.mark.parametrize(
    ("patience_us", "outcome"), [(3_000_000, 3_000_000), (2_999_999, None), (10_000_000, 3_000_000)]
)
def test_without_limits_a_pause_holds_for_as_long_as_a_call_may_wait(
    patience_us: int, outcome: int | None
) -> None:
    """`outcome` is the wait that is granted; None when the pause outlasts the patience."""
    policy = AdmissionPolicy(limits=None)
    state = ProviderState(paused_at=10, paused_until=3_000_010)

    after, admission = admit(state, policy, Ask(patience_us), 10)

    if outcome is None:
        assert isinstance(admission, RefusedByLimiter)
        assert admission.retry_after_us == 3_000_000
        assert after is state
    else:
        assert isinstance(admission, Granted)
        assert admission.wait_us == outcome


def test_without_limits_and_without_a_pause_nobody_waits() -> None:
    policy = AdmissionPolicy(limits=None)
    for state in (ProviderState(), ProviderState(paused_at=10, paused_until=20)):
        _, admission = admit(state, policy, Ask(0), 20)
        assert isinstance(admission, Granted)
        assert admission.wait_us == 0
