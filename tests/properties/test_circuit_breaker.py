"""The circuit breaker opens exactly when it should, lets nothing through while open, and sends one probe."""

from __future__ import annotations

from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.health import CircuitState
from core.policies.admission import (
    AdmissionPolicy,
    Granted,
    ProviderState,
    RefusedByCircuit,
    Settlement,
    admit,
    circuit_state,
    settle,
)
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.rate_limit import LimitPolicy

START = 1_000_000_000_000

breakers = st.builds(
    BreakerPolicy,
    failure_threshold=st.integers(1, 12),
    recovery_us=st.integers(1, 3_600_000_000),
    probe_lease_us=st.integers(1, 301_000_000),
)
policies = st.builds(
    AdmissionPolicy, breaker=breakers, limits=st.none() | st.just(LimitPolicy(100_000, 1_000_000))
)


def opened(policy: AdmissionPolicy, at: int = START) -> ProviderState:
    """The state of a provider whose circuit opened just now."""
    state = ProviderState()
    assert policy.breaker is not None
    for _ in range(policy.breaker.failure_threshold):
        state, admission = admit(state, policy, at, 0)
        assert isinstance(admission, Granted)
        state = settle(state, policy, admission, Settlement.ILL, at)
    return state


@pytest.mark.property(20)
@given(policy=policies, settlements=st.lists(st.sampled_from(Settlement), max_size=60))
def test_the_breaker_is_open_once_so_many_failures_came_in_a_row_and_never_earlier(
    policy: AdmissionPolicy, settlements: list[Settlement]
) -> None:
    assert policy.breaker is not None
    state, telling = ProviderState(), []
    for number, settlement in enumerate(settlements):
        state = settle(state, policy, Granted(0), settlement, START + number)
        telling += [settlement] if settlement is not Settlement.NOTHING else []
        in_a_row = len(list(takewhile(lambda told: told is Settlement.ILL, reversed(telling))))
        if in_a_row == policy.breaker.failure_threshold:
            assert state.breaker.opened_at == START + number
            return
        assert circuit_state(state, policy, START + number) is CircuitState.CLOSED


@pytest.mark.property(21)
@given(policy=policies, share=st.floats(0, 1, exclude_max=True), wait=st.integers(0, 10**12))
def test_an_open_circuit_lets_nothing_through_and_says_for_how_long(
    policy: AdmissionPolicy, share: float, wait: int
) -> None:
    assert policy.breaker is not None
    state = opened(policy)
    passed = int(policy.breaker.recovery_us * share)

    after, admission = admit(state, policy, START + passed, wait)

    assert admission == RefusedByCircuit(policy.breaker.recovery_us - passed)
    assert after is state


@pytest.mark.property(22)
@given(
    policy=policies,
    beyond=st.integers(0, 10**12),
    delays=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=20).map(sorted),
    outcome=st.sampled_from([Settlement.WELL, Settlement.ILL]),
)
def test_after_the_recovery_time_exactly_one_probe_passes_and_decides(
    policy: AdmissionPolicy, beyond: int, delays: list[float], outcome: Settlement
) -> None:
    assert policy.breaker is not None
    start = START + policy.breaker.recovery_us + beyond
    state, probe = admit(opened(policy), policy, start, 0)
    assert isinstance(probe, Granted)
    assert probe.is_probe

    now = start
    for delay in delays:
        now = start + int(policy.breaker.probe_lease_us * delay)
        state, refused = admit(state, policy, now, 10**12)
        assert refused == RefusedByCircuit(start + policy.breaker.probe_lease_us - now)

    after = settle(state, policy, probe, outcome, now)
    expected = CircuitState.CLOSED if outcome is Settlement.WELL else CircuitState.OPEN
    assert circuit_state(after, policy, now) is expected


@pytest.mark.property(22)
@pytest.mark.fault("BR-02")
@given(policy=policies, asked_after=st.integers(0, 10**12))
def test_a_probe_that_never_ends_is_followed_by_the_next_one(
    policy: AdmissionPolicy, asked_after: int
) -> None:
    assert policy.breaker is not None
    start = START + policy.breaker.recovery_us
    state, _ = admit(opened(policy), policy, start, 0)

    _, admission = admit(state, policy, start + policy.breaker.probe_lease_us + asked_after, 0)

    assert isinstance(admission, Granted)
    assert admission.is_probe


@pytest.mark.fault("BR-03")
@given(policy=policies, back=st.integers(1, START), dies=st.booleans())
def test_a_clock_set_back_never_keeps_a_circuit_open_longer_than_it_was_to_be(
    policy: AdmissionPolicy, back: int, dies: bool
) -> None:
    """Nor does it leave a probe that died holding the circuit longer than the longest lease can be."""
    assert policy.breaker is not None
    state, now = opened(policy), START
    if dies:
        now += policy.breaker.recovery_us
        state, _ = admit(state, policy, now, 0)

    _, admission = admit(state, policy, now - back, 0)

    longest = policy.breaker.recovery_us + policy.breaker.probe_lease_us + 300_000_000
    assert isinstance(admission, Granted) or admission.retry_after_us <= longest
