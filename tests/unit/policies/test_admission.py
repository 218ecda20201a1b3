"""What admission adds to breaker and limits: their order, a call's own patience, and pauses."""

from __future__ import annotations

import pytest

from core.model.health import CircuitState
from core.policies.admission import (
    AdmissionPolicy,
    Granted,
    ProviderState,
    RefusedByCircuit,
    RefusedByLimiter,
    Settlement,
    admit,
    circuit_state,
    settle,
)
from core.policies.circuit_breaker import BreakerPolicy, CircuitBreaker
from core.policies.rate_limit import HOUR_US, LimitPolicy

ILL = ProviderState(CircuitBreaker(failures=5, opened_at=1000, generation=1))
POLICY = AdmissionPolicy(BreakerPolicy(), LimitPolicy(per_minute=1, per_hour=1, max_wait_us=90_000_000))


def test_the_circuit_is_asked_before_the_limits() -> None:
    used_up = ProviderState(ILL.breaker, minute_full_at=10**9, hour_full_at=10**9)

    assert admit(used_up, POLICY, 1000, 0) == (used_up, RefusedByCircuit(60_000_000))


@pytest.mark.parametrize(("patience", "is_granted"), [(60, True), (59, False)])
def test_a_call_waits_no_longer_than_its_own_deadline_allows(patience: int, is_granted: bool) -> None:
    policy = AdmissionPolicy(None, LimitPolicy(per_minute=1, per_hour=2_000, max_wait_us=90_000_000))
    state, _ = admit(ProviderState(), policy, 1000, 0)

    after, admission = admit(state, policy, 1000, patience * 1_000_000)

    assert admission == (Granted(0, wait_us=60_000_000) if is_granted else RefusedByLimiter(60_000_000))
    assert (after == state) is not is_granted


def test_a_call_waits_no_longer_than_the_policy_allows() -> None:
    policy = AdmissionPolicy(None, LimitPolicy(per_minute=1, per_hour=2_000, max_wait_us=59_000_000))
    state, _ = admit(ProviderState(), policy, 1000, 0)

    assert admit(state, policy, 1000, 10**12)[1] == RefusedByLimiter(60_000_000)


def test_a_refused_probe_is_not_leased() -> None:
    state = ProviderState(ILL.breaker, minute_full_at=10**12, paused_at=0, paused_until=10**12)

    after, admission = admit(state, POLICY, 100_000_000, 0)

    assert isinstance(admission, RefusedByLimiter)
    assert after is state


def test_a_circuit_without_a_breaker_is_closed_and_learns_nothing() -> None:
    policy = AdmissionPolicy(breaker=None)

    assert circuit_state(ILL, policy, 1001) is CircuitState.CLOSED
    assert circuit_state(ILL, POLICY, 1001) is CircuitState.OPEN
    assert settle(ILL, policy, Granted(1), Settlement.WELL, 1001) is ILL


@pytest.mark.parametrize(("now", "end"), [(999, 0), (1000, 1000 + 5), (1004, 1000 + 5), (1005, 0)])
def test_a_pause_holds_from_the_moment_it_was_asked_for(now: int, end: int) -> None:
    state = settle(ProviderState(), POLICY, Granted(0), Settlement.NOTHING, 1000, pause_us=5)

    assert state.pause_end(now) == end


def test_a_pause_set_before_the_clock_went_back_does_not_lengthen_the_next_one() -> None:
    state = ProviderState(paused_at=10**10, paused_until=10**10 + HOUR_US)

    after = settle(state, POLICY, Granted(0), Settlement.NOTHING, 1000, pause_us=5)

    assert (after.paused_at, after.paused_until) == (1000, 1005)


@pytest.mark.parametrize("pause", [0, -1])
def test_no_pause_changes_nothing(pause: int) -> None:
    """Neither zero nor a time in the past, which a provider may well send, holds anybody back."""
    state = ProviderState()

    assert settle(state, POLICY, Granted(0), Settlement.NOTHING, 1000, pause_us=pause) is state
