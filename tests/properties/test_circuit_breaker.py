"""The circuit breaker opens exactly when it should, lets nothing through while open, and sends its probes alone."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.health import CircuitState
from core.policies.admission import (
    AdmissionPolicy,
    Ask,
    Granted,
    ProviderState,
    RefusedByCircuit,
    Settlement,
    admit,
    circuit_state,
    settle,
)
from core.policies.circuit_breaker import LONGEST_WAIT_US, BreakerPolicy
from core.policies.override import Override, OverrideMode
from core.policies.rate_limit import LimitPolicy
from core.policies.tally import SLICES

START = 1_000_000_000_000
EAGER, PATIENT, CHECK = Ask(), Ask(patience_us=10**12), Ask(is_check=True)

in_a_row = st.builds(
    BreakerPolicy,
    failure_threshold=st.integers(1, 12),
    recovery_us=st.integers(1, 3_600_000_000),
    probe_lease_us=st.integers(1, 301_000_000),
    probes=st.integers(1, 4),
)
by_share = st.builds(
    BreakerPolicy,
    failure_threshold=st.integers(1, 30),
    recovery_us=st.just(60_000_000),
    failure_percent=st.integers(0, 100),
    slow_percent=st.integers(0, 100),
    window_us=st.integers(10, 60_000_000),
    minimum_calls=st.integers(1, 12),
)
outcomes = st.sampled_from([Settlement.WELL, Settlement.ILL])


def guarded(breaker: BreakerPolicy) -> AdmissionPolicy:
    return AdmissionPolicy(breaker, None, None)


policies = st.builds(
    AdmissionPolicy, breaker=in_a_row, limits=st.none() | st.just(LimitPolicy(100_000, 1_000_000))
)


def rule_of(policy: AdmissionPolicy) -> BreakerPolicy:
    assert policy.breaker is not None
    return policy.breaker


def opened(policy: AdmissionPolicy, at: int = START) -> ProviderState:
    """The state of a provider whose circuit opened just now, by failures in a row."""
    state = ProviderState()
    for _ in range(rule_of(policy).failure_threshold):
        state, admission = admit(state, policy, EAGER, at)
        assert isinstance(admission, Granted)
        state = settle(state, policy, admission, Settlement.ILL, at)
    return state


@pytest.mark.property(20)
@given(policy=policies, settlements=st.lists(st.sampled_from(Settlement), max_size=60))
def test_the_breaker_is_open_once_so_many_failures_came_in_a_row_and_never_earlier(
    policy: AdmissionPolicy, settlements: list[Settlement]
) -> None:
    state, telling = ProviderState(), []
    for number, settlement in enumerate(settlements):
        state = settle(state, policy, Granted(0), settlement, START + number)
        telling += [settlement] if settlement in {Settlement.WELL, Settlement.ILL} else []
        failures = len(list(takewhile(lambda told: told is Settlement.ILL, reversed(telling))))
        if failures == rule_of(policy).failure_threshold:
            assert state.breaker.opened_at == START + number
            return
        assert circuit_state(state, policy, START + number) is CircuitState.CLOSED


@given(
    rule=by_share,
    ended=st.lists(
        st.tuples(st.integers(0, 10_000_000) | st.integers(0, 3), outcomes, st.booleans()), max_size=80
    ),
    set_back=st.dictionaries(st.integers(0, 79), st.integers(1, 60_000_000), max_size=2),
)
def test_a_share_opens_the_circuit_exactly_when_a_recount_of_the_window_reaches_it(
    rule: BreakerPolicy, ended: list[tuple[int, Settlement, bool]], set_back: dict[int, int]
) -> None:
    """Attempts end one after the other; now and then somebody sets the clock back, and what is ahead counts no more."""
    policy, state, now, in_a_row = guarded(rule), ProviderState(), START, 0
    slice_us = rule.window_us // SLICES
    remembered: list[tuple[int, bool, bool]] = []
    for number, (gap, settlement, is_slow) in enumerate(ended):
        now += gap - set_back.get(number, 0)
        is_failure = settlement is Settlement.ILL
        in_a_row = in_a_row + 1 if is_failure else 0
        remembered = [
            (at, failed, slow)
            for at, failed, slow in [*remembered, (now, is_failure, is_slow)]
            if now // slice_us - SLICES < at // slice_us <= now // slice_us
        ]

        state = settle(state, policy, Granted(0), settlement, now, is_slow=is_slow)

        calls = len(remembered)
        failed = sum(failed for _, failed, _ in remembered)
        slow = sum(slow for *_, slow in remembered)
        is_too_many = in_a_row == rule.failure_threshold or (
            calls >= rule.minimum_calls
            and (
                (rule.failure_percent > 0 and Fraction(failed, calls) >= Fraction(rule.failure_percent, 100))
                or (rule.slow_percent > 0 and Fraction(slow, calls) >= Fraction(rule.slow_percent, 100))
            )
        )
        assert (state.breaker.opened_at == now) is is_too_many
        if is_too_many:
            return
        assert state.breaker.opened_at is None


@given(rule=by_share, ended=st.lists(st.tuples(st.integers(0, 100), outcomes), max_size=11))
def test_shares_never_open_a_circuit_before_enough_calls(
    rule: BreakerPolicy, ended: list[tuple[int, Settlement]]
) -> None:
    policy, state, now = guarded(replace(rule, failure_threshold=100)), ProviderState(), START
    for gap, settlement in ended[: rule.minimum_calls - 1]:
        now += gap
        state = settle(state, policy, Granted(0), settlement, now, is_slow=True)

    assert state.breaker.opened_at is None


@pytest.mark.property(21)
@given(policy=policies, share=st.floats(0, 1, exclude_max=True), patience=st.integers(0, 10**12))
def test_an_open_circuit_lets_nothing_through_and_says_for_how_long(
    policy: AdmissionPolicy, share: float, patience: int
) -> None:
    state = opened(policy)
    passed = int(rule_of(policy).recovery_us * share)

    after, admission = admit(state, policy, Ask(patience), START + passed)

    assert admission == RefusedByCircuit(rule_of(policy).recovery_us - passed)
    assert after is state


@pytest.mark.property(22)
@given(
    policy=policies,
    beyond=st.integers(0, 10**12),
    delays=st.lists(st.floats(0, 1, exclude_max=True), min_size=5, max_size=20).map(sorted),
    decides=st.integers(0, 3),
    outcome=outcomes,
)
def test_after_the_recovery_time_exactly_so_many_probes_pass_and_the_first_result_decides(
    policy: AdmissionPolicy, beyond: int, delays: list[float], decides: int, outcome: Settlement
) -> None:
    """All of them begin within a lease of the first, so that none is taken for dead."""
    rule = rule_of(policy)
    start = START + rule.recovery_us + beyond
    state, now = opened(policy), start
    probes: list[int] = []
    for share in [0.0, *delays]:
        now = start + int(rule.probe_lease_us * share)
        state, admission = admit(state, policy, PATIENT, now)
        if len(probes) < rule.probes:
            assert isinstance(admission, Granted)
            assert admission.is_probe
            probes.append(now)
        else:
            assert admission == RefusedByCircuit(probes[-1] + rule.probe_lease_us - now)

    probe = Granted(state.breaker.generation, is_probe=True)
    after = settle(state, policy, probe, outcome, now)
    expected = CircuitState.CLOSED if outcome is Settlement.WELL else CircuitState.OPEN
    assert circuit_state(after, policy, now) is expected
    for late in Settlement:
        assert settle(after, policy, probe, late, now).breaker == after.breaker, "the others come too late"


@pytest.mark.property(22)
@given(policy=policies, proves=st.sampled_from([Settlement.NOTHING, Settlement.THROTTLED]), probes=st.data())
def test_each_probe_that_proves_nothing_makes_room_for_exactly_one_more(
    policy: AdmissionPolicy, proves: Settlement, probes: st.DataObject
) -> None:
    rule = rule_of(policy)
    state, now = opened(policy), START + rule.recovery_us
    for _ in range(rule.probes):
        state, _ = admit(state, policy, EAGER, now)
    back = probes.draw(st.integers(0, rule.probes))
    for _ in range(back):
        state = settle(state, policy, Granted(state.breaker.generation, is_probe=True), proves, now)

    passed = 0
    for _ in range(rule.probes + 1):
        state, admission = admit(state, policy, EAGER, now)
        passed += isinstance(admission, Granted)

    assert passed == back


@pytest.mark.property(22)
@given(rule=in_a_row, asked=st.lists(st.sampled_from([EAGER, PATIENT, CHECK]), max_size=8))
def test_where_health_checks_probe_no_users_call_ever_does(rule: BreakerPolicy, asked: list[Ask]) -> None:
    policy = guarded(replace(rule, probes_by_check=True))
    state, now, probes = opened(policy), START + rule.recovery_us, 0
    for ask in asked:
        state, admission = admit(state, policy, ask, now)
        if probes >= rule.probes:
            assert admission == RefusedByCircuit(rule.probe_lease_us)
        elif ask.is_check:
            assert isinstance(admission, Granted)
            probes += 1
        else:
            assert isinstance(admission, RefusedByCircuit)
            assert admission.wants_check


@pytest.mark.property(22)
@pytest.mark.fault("BR-02")
@given(policy=policies, asked_after=st.integers(0, 10**12))
def test_a_probe_that_never_ends_is_followed_by_the_next_one(
    policy: AdmissionPolicy, asked_after: int
) -> None:
    start = START + rule_of(policy).recovery_us
    state = opened(policy)
    for _ in range(rule_of(policy).probes):
        state, _ = admit(state, policy, EAGER, start)

    _, admission = admit(state, policy, EAGER, start + rule_of(policy).probe_lease_us + asked_after)

    assert isinstance(admission, Granted)
    assert admission.is_probe


@given(
    policy=policies,
    late=st.lists(st.tuples(st.integers(0, 10**10), st.sampled_from(Settlement)), max_size=6),
    stage=st.sampled_from(["open", "probing", "closed again"]),
)
def test_what_comes_of_attempts_from_before_the_circuit_turned_changes_it_no_more(
    policy: AdmissionPolicy, late: list[tuple[int, Settlement]], stage: str
) -> None:
    attempts = []
    state = ProviderState()
    for _ in late:
        state, admission = admit(state, policy, EAGER, START)
        assert isinstance(admission, Granted)
        attempts.append(admission)
    state = opened(policy)
    if stage != "open":
        state, probe = admit(state, policy, EAGER, START + rule_of(policy).recovery_us)
        assert isinstance(probe, Granted)
        if stage == "closed again":
            state = settle(state, policy, probe, Settlement.WELL, START + rule_of(policy).recovery_us)

    for attempt, (delay, settlement) in zip(attempts, late, strict=True):
        assert settle(state, policy, attempt, settlement, START + delay).breaker == state.breaker


@pytest.mark.fault("BR-03")
@given(policy=policies, back=st.integers(1, START), dies=st.booleans())
def test_a_clock_set_back_never_keeps_a_circuit_open_longer_than_it_was_to_be(
    policy: AdmissionPolicy, back: int, dies: bool
) -> None:
    """Nor does it leave a probe that died holding the circuit longer than the longest lease can be."""
    rule = rule_of(policy)
    state, now = opened(policy), START
    if dies:
        now += rule.recovery_us
        state, _ = admit(state, policy, EAGER, now)

    _, admission = admit(state, policy, EAGER, now - back)

    longest = rule.recovery_us + rule.probe_lease_us + LONGEST_WAIT_US
    assert isinstance(admission, Granted) or admission.retry_after_us <= longest


steps = st.lists(st.tuples(st.integers(0, 40_000_000), outcomes, st.booleans()), max_size=60)
shadowable = st.builds(
    BreakerPolicy,
    failure_threshold=st.integers(1, 4),
    probes=st.integers(1, 3),
    probes_by_check=st.booleans(),
    failure_percent=st.sampled_from([0, 50]),
    minimum_calls=st.integers(1, 5),
)


@given(rule=shadowable, schedule=steps)
def test_a_circuit_in_shadow_refuses_nobody_and_goes_through_what_it_would_have_gone_through(
    rule: BreakerPolicy, schedule: list[tuple[int, Settlement, bool]]
) -> None:
    """Two providers answer the same: one has a breaker, the other a breaker in shadow."""
    policy, now = guarded(rule), START
    real = ProviderState()
    shadow = ProviderState(override=Override(OverrideMode.SHADOW, 10**15, "kim", "a trial"))
    for gap, settlement, is_check in schedule:
        now += gap
        ask = Ask(is_check=is_check)
        real, admission = admit(real, policy, ask, now)
        if isinstance(admission, Granted):
            real = settle(real, policy, admission, settlement, now)
        shadow, admission = admit(shadow, policy, ask, now)
        assert isinstance(admission, Granted)
        shadow = settle(shadow, policy, admission, settlement, now)

        assert shadow.breaker == real.breaker


@given(
    rule=shadowable,
    mode=st.sampled_from([OverrideMode.FORCED_OPEN, OverrideMode.FORCED_CLOSED]),
    schedule=steps,
    ends=st.integers(1, 1_000_000_000),
)
def test_a_forced_circuit_does_as_it_is_told_until_the_word_ends_by_itself(
    rule: BreakerPolicy, mode: OverrideMode, schedule: list[tuple[int, Settlement, bool]], ends: int
) -> None:
    policy, now = guarded(rule), START
    before = opened(guarded(replace(rule, failure_threshold=1, failure_percent=0)))
    state = before._replace(override=Override(mode, START + ends, "kim", "a trial", START))
    for gap, settlement, is_check in schedule:
        now += gap
        if now >= START + ends:
            break
        state, admission = admit(state, policy, Ask(is_check=is_check), now)
        if mode is OverrideMode.FORCED_OPEN:
            assert admission == RefusedByCircuit(START + ends - now, forced_by="kim: a trial")
        else:
            assert isinstance(admission, Granted)
            state = settle(state, policy, admission, settlement, now)
        assert state.breaker == before.breaker

    for is_check in (False, True):
        afterwards = admit(state, policy, Ask(is_check=is_check), START + ends)
        assert afterwards[1] == admit(before, policy, Ask(is_check=is_check), START + ends)[1]


@pytest.mark.fault("BR-03")
@given(mode=st.sampled_from(OverrideMode), back=st.integers(1, START), ends=st.integers(1, 10**12))
def test_a_word_from_before_the_clock_was_set_back_holds_no_longer_than_it_was_to(
    mode: OverrideMode, back: int, ends: int
) -> None:
    """As when the machine was started again: what is ahead of the clock does not hold."""
    state = ProviderState(override=Override(mode, START + ends, "kim", "a trial", START))

    assert state.override_at(START - back) is None
    assert state.override_at(START) == state.override
