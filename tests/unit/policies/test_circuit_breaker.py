"""The edges of the circuit breaker, one by one."""

from __future__ import annotations

import pytest

from core.model.health import CircuitState
from core.policies.circuit_breaker import LONGEST_WAIT_US, BreakerPolicy, CircuitBreaker
from core.policies.tally import Slice

POLICY = BreakerPolicy(failure_threshold=2, recovery_us=100, probe_lease_us=30)
THREE_PROBES = BreakerPolicy(failure_threshold=2, recovery_us=100, probe_lease_us=30, probes=3)
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

    assert closed.state(POLICY, 5) is CircuitState.CLOSED
    assert closed.refused_for(POLICY, 5) == 0
    with pytest.raises(
        ValueError, match=r"^A probe may only pass a half-open circuit that has room for one\.$"
    ):
        closed.attempt_reset(POLICY, 5, 5)


def test_an_open_circuit_sends_no_probe() -> None:
    with pytest.raises(ValueError, match="half-open"):
        OPEN.attempt_reset(POLICY, 1099, 1099)


@pytest.mark.parametrize(("now", "left"), [(1100, 40), (1139, 1), (1140, 0)])
def test_a_probe_that_waits_for_its_turn_holds_its_lease_from_then_on(now: int, left: int) -> None:
    probing = OPEN.attempt_reset(POLICY, 1100, 1110)

    assert probing.refused_for(POLICY, now) == left


def test_while_a_probe_is_under_way_there_is_no_second_one() -> None:
    probing = OPEN.attempt_reset(POLICY, 1100, 1100)

    with pytest.raises(ValueError, match="room for one"):
        probing.attempt_reset(POLICY, 1129, 1129)


def test_as_many_probes_are_under_way_at_once_as_the_policy_says() -> None:
    probing = OPEN
    for number in range(3):
        assert probing.refused_for(THREE_PROBES, 1100 + number) == 0
        probing = probing.attempt_reset(THREE_PROBES, 1100 + number, 1100 + number)

    assert probing == CircuitBreaker(2, 1000, probe_until=1132, probes=3, generation=2)
    assert probing.refused_for(THREE_PROBES, 1110) == 22
    with pytest.raises(ValueError, match="room for one"):
        probing.attempt_reset(THREE_PROBES, 1110, 1110)


def test_a_probe_that_starts_earlier_than_another_one_does_not_shorten_its_lease() -> None:
    late = OPEN.attempt_reset(THREE_PROBES, 1100, 1200)

    assert late.attempt_reset(THREE_PROBES, 1101, 1101).probe_until == 1230


@pytest.mark.parametrize("outcome", ["closes", "opens"])
def test_the_first_of_several_probes_decides_and_the_others_come_too_late(outcome: str) -> None:
    probing = OPEN.attempt_reset(THREE_PROBES, 1100, 1100).attempt_reset(THREE_PROBES, 1101, 1101)

    if outcome == "closes":
        decided = probing.record_success(THREE_PROBES, 2, 1105)
        assert decided == CircuitBreaker(generation=3)
    else:
        decided = probing.record_failure(THREE_PROBES, 2, 1105)
        assert decided == CircuitBreaker(failures=3, opened_at=1105, generation=3)

    assert decided.record_failure(THREE_PROBES, 2, 1110) is decided
    assert decided.record_success(THREE_PROBES, 2, 1110) is decided
    assert decided.release_probe(2) is decided


def test_a_probe_that_proved_nothing_makes_room_for_the_next_one() -> None:
    both = OPEN.attempt_reset(THREE_PROBES, 1100, 1100).attempt_reset(THREE_PROBES, 1105, 1105)

    one = both.release_probe(2)
    none = one.release_probe(2)

    assert one == CircuitBreaker(2, 1000, probe_until=1135, probes=1, generation=2)
    assert none == CircuitBreaker(2, 1000, generation=2)
    assert none.release_probe(2) is none


def test_probes_whose_lease_is_over_are_taken_for_dead_and_heard_no_more() -> None:
    dead = OPEN.attempt_reset(THREE_PROBES, 1100, 1100).attempt_reset(THREE_PROBES, 1100, 1100)

    after = dead.attempt_reset(THREE_PROBES, 1130, 1130)

    assert after == CircuitBreaker(2, 1000, probe_until=1160, probes=1, generation=3)
    assert after.record_success(THREE_PROBES, 2, 1131) is after


@pytest.mark.parametrize(("back", "left"), [(0, LONGEST_WAIT_US + 30), (1, 0)])
def test_a_lease_longer_than_any_can_be_is_not_believed(back: int, left: int) -> None:
    now = 10 * LONGEST_WAIT_US
    probing = OPEN.attempt_reset(POLICY, now, now + LONGEST_WAIT_US)

    assert probing.refused_for(POLICY, now - back) == left


def test_what_changes_the_circuit_begins_a_new_generation() -> None:
    opened = CircuitBreaker(failures=1).record_failure(POLICY, 0, 50)
    probing = opened.attempt_reset(POLICY, 150, 150)
    closed = probing.record_success(POLICY, 2, 160)

    assert opened == CircuitBreaker(failures=2, opened_at=50, generation=1)
    assert probing == CircuitBreaker(2, 50, probe_until=180, probes=1, generation=2)
    assert closed == CircuitBreaker(generation=3)


def test_a_success_while_all_is_well_changes_nothing() -> None:
    closed = CircuitBreaker(generation=4)

    assert closed.record_success(POLICY, 4, 5) is closed
    assert CircuitBreaker(failures=1, generation=4).record_success(POLICY, 4, 5) == closed


def test_a_failure_that_is_not_yet_too_many_is_counted_in_the_same_generation() -> None:
    assert CircuitBreaker(generation=4).record_failure(POLICY, 4, 5) == CircuitBreaker(1, generation=4)


def test_what_another_generation_proves_changes_nothing() -> None:
    probing = OPEN.attempt_reset(POLICY, 1100, 1100)

    for generation in (0, 1, 3):
        assert probing.record_success(POLICY, generation, 1101) is probing
        assert probing.record_failure(POLICY, generation, 1101) is probing
        assert probing.release_probe(generation) is probing


SHARES = BreakerPolicy(
    failure_threshold=100, failure_percent=50, slow_percent=80, window_us=1000, minimum_calls=4
)


def after(outcomes: str, policy: BreakerPolicy = SHARES, generation: int = 7) -> CircuitBreaker:
    """A closed circuit after those attempts, 10 µs apart: `w` went well, `W` well but slowly, `i` ill, `I` ill and slow."""
    breaker = CircuitBreaker(generation=generation)
    for number, outcome in enumerate(outcomes):
        record = breaker.record_success if outcome in "wW" else breaker.record_failure
        breaker = record(policy, generation, 5000 + 10 * number, is_slow=outcome in "WI")
    return breaker


@pytest.mark.parametrize(
    ("outcomes", "is_open"),
    [
        ("iii", False),  # too few calls to say anything
        ("iiww", True),
        ("wwii", True),
        ("iwww", False),
        ("iwwwi", False),
        ("iwwwii", True),
        ("WWWw", False),
        ("WWWW", True),
        ("wWWWW", True),
        ("wwWWWWWW", False),
        ("iwwWWWWW", False),
        ("iwwWWIWW", False),
        ("iwwwI", False),
        ("IwWWW", True),
    ],
)
def test_a_share_of_failed_or_slow_attempts_opens_the_circuit_exactly_when_it_is_reached(
    outcomes: str, is_open: bool
) -> None:
    """Failed are 50 % too many, slow are 80 %, of at least four attempts."""
    before_the_last = after(outcomes[:-1])
    assert before_the_last.opened_at is None

    breaker = after(outcomes)

    assert (breaker.opened_at is not None) is is_open
    assert breaker.generation == (8 if is_open else 7)
    if is_open:
        in_a_row = len(outcomes) - len(outcomes.rstrip("iI"))
        assert breaker == CircuitBreaker(in_a_row, 5000 + 10 * (len(outcomes) - 1), generation=8)


def test_what_counts_for_a_share_is_kept_in_the_tally() -> None:
    assert after("wiI") == CircuitBreaker(2, generation=7, tally=(Slice(50, 3, 2, 1),))
    assert after("iW") == CircuitBreaker(0, generation=7, tally=(Slice(50, 2, 1, 1),))


def test_an_attempt_is_taken_for_fast_unless_it_is_said_to_be_slow() -> None:
    well = CircuitBreaker().record_success(SHARES, 0, 5000)
    ill = CircuitBreaker().record_failure(SHARES, 0, 5000)

    assert (well.tally, ill.tally) == ((Slice(50, 1, 0, 0),), (Slice(50, 1, 1, 0),))


def test_failures_in_a_row_open_the_circuit_also_where_shares_are_looked_at() -> None:
    policy = BreakerPolicy(failure_threshold=2, failure_percent=100, minimum_calls=1000)

    assert after("i", policy).opened_at is None
    assert after("ii", policy) == CircuitBreaker(2, 5010, generation=8)


def test_a_circuit_that_opened_by_a_share_closes_with_an_empty_tally() -> None:
    opened = after("iiww")

    closed = opened.attempt_reset(SHARES, 10**9, 10**9).record_success(SHARES, 9, 10**9 + 1)

    assert closed == CircuitBreaker(generation=10)


def test_a_breaker_that_looks_at_no_share_keeps_no_tally() -> None:
    assert after("wiwi", POLICY) == CircuitBreaker(1, generation=7)
    assert not BreakerPolicy().looks_at_shares
    assert BreakerPolicy(failure_percent=1).looks_at_shares
    assert BreakerPolicy(slow_percent=1).looks_at_shares
