"""The edges of the circuit breaker, one by one."""

from __future__ import annotations

import pytest

from core.model.health import CircuitState
from core.policies.circuit_breaker import LONGEST_WAIT_US, BreakerPolicy, CircuitBreaker

POLICY = BreakerPolicy(failure_threshold=2, recovery_us=100, probe_lease_us=30)
OPEN = CircuitBreaker(failures=2, opened_at=1000, generation=1)


@pytest.mark.parametrize(
    ("now", "state", "left"),
    [
        (999, CircuitState.HALF_OPEN, 0),
        (1000, CircuitState.OPEN, 100),
        (1099, CircuitState.OPEN, 1),
        (1100, CircuitState.HALF_OPEN, 0),
    ],
)
def test_an_open_circuit_is_half_open_exactly_at_the_end_of_its_recovery_time(
    now: int, state: CircuitState, left: int
) -> None:
    assert OPEN.state(POLICY, now) is state
    assert OPEN.refused_for(POLICY, now) == left
    assert (OPEN.is_open(POLICY, now), OPEN.is_half_open(POLICY, now)) == (
        state is CircuitState.OPEN,
        state is CircuitState.HALF_OPEN,
    )


def test_a_closed_circuit_refuses_nothing_and_sends_no_probe() -> None:
    closed = CircuitBreaker(failures=1)

    assert closed.refused_for(POLICY, 5) == 0
    with pytest.raises(ValueError, match="half-open"):
        closed.attempt_reset(POLICY, 5, 5)


@pytest.mark.parametrize(("now", "left"), [(1100, 40), (1139, 1), (1140, 0)])
def test_a_probe_that_waits_for_its_turn_holds_its_lease_from_then_on(now: int, left: int) -> None:
    probing = OPEN.attempt_reset(POLICY, 1100, 1110)

    assert probing.refused_for(POLICY, now) == left


def test_while_a_probe_is_under_way_there_is_no_second_one() -> None:
    probing = OPEN.attempt_reset(POLICY, 1100, 1100)

    with pytest.raises(ValueError, match="under way"):
        probing.attempt_reset(POLICY, 1129, 1129)


@pytest.mark.parametrize(("back", "left"), [(0, LONGEST_WAIT_US + 30), (1, 0)])
def test_a_lease_longer_than_any_can_be_is_not_believed(back: int, left: int) -> None:
    now = 10 * LONGEST_WAIT_US
    probing = OPEN.attempt_reset(POLICY, now, now + LONGEST_WAIT_US)

    assert probing.refused_for(POLICY, now - back) == left


def test_what_changes_the_circuit_begins_a_new_generation() -> None:
    opened = CircuitBreaker(failures=1).record_failure(POLICY, 0, 50)
    probing = opened.attempt_reset(POLICY, 150, 150)
    closed = probing.record_success(2)

    assert opened == CircuitBreaker(failures=2, opened_at=50, generation=1)
    assert probing == CircuitBreaker(failures=2, opened_at=50, probe_until=180, generation=2)
    assert closed == CircuitBreaker(generation=3)


def test_a_success_while_all_is_well_changes_nothing() -> None:
    closed = CircuitBreaker(generation=4)

    assert closed.record_success(4) is closed
    assert CircuitBreaker(failures=1, generation=4).record_success(4) == closed


def test_what_another_generation_proves_changes_nothing() -> None:
    assert OPEN.record_success(0) is OPEN
    assert OPEN.record_failure(POLICY, 0, 2000) is OPEN
    assert OPEN.release_probe(0) is OPEN
    assert OPEN.release_probe(2) is OPEN
