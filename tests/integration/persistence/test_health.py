"""What is known of an integration's health follows from every check, whoever recorded it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck as HypothesisCheck
from hypothesis import given, settings
from hypothesis import strategies as st

from core.model.health import CircuitState, HealthCheck, HealthStatus
from core.persistence.database import Database
from core.persistence.health import HealthStore
from core.persistence.tables import integration_health, integration_health_checks
from tests.builders import health_check
from tests.fakes import NOON, FakeClock

_MINUTE = timedelta(minutes=1)


def _at(minute: float, status: HealthStatus, circuit: CircuitState = CircuitState.CLOSED) -> HealthCheck:
    return health_check(checked_at=NOON + minute * _MINUTE, status=status, circuit_state=circuit)


def test_before_the_first_check_nothing_is_known(database: Database, clock: FakeClock) -> None:
    store = HealthStore(database, clock)

    assert store.all() == {}
    assert store.history("address") == []


def test_the_first_check_begins_the_record(database: Database, clock: FakeClock) -> None:
    store = HealthStore(database, clock)
    check = health_check(status=HealthStatus.DEGRADED, message="kakao is slow")

    before, after = store.record(check)

    assert before is None
    assert after == store.all()["address"]
    assert (after.status, after.message, after.details) == (check.status, check.message, check.details)
    assert (after.last_check_at, after.last_success_at, after.last_failure_at) == (NOON, NOON, None)
    assert store.history("address") == [check]


def test_failures_are_counted_in_a_row_until_a_check_goes_well(database: Database, clock: FakeClock) -> None:
    """A degraded integration still answers: it ends the row."""
    store = HealthStore(database, clock)
    statuses = [HealthStatus.UNHEALTHY, HealthStatus.UNHEALTHY, HealthStatus.DEGRADED, HealthStatus.UNHEALTHY]

    counts = [store.record(_at(n, status))[1].consecutive_failures for n, status in enumerate(statuses)]

    assert counts == [1, 2, 0, 1]


def test_the_record_before_is_the_one_after_the_last_check(database: Database, clock: FakeClock) -> None:
    store = HealthStore(database, clock)
    _, first = store.record(_at(0, HealthStatus.UNHEALTHY))

    before, after = store.record(_at(1, HealthStatus.HEALTHY))

    assert before == first
    assert after.last_failure_at == NOON
    assert after.last_success_at == NOON + _MINUTE


def test_a_failure_is_forgotten_after_a_day(database: Database, clock: FakeClock) -> None:
    store = HealthStore(database, clock)
    store.record(_at(0, HealthStatus.UNHEALTHY))

    _, just_before = store.record(_at(24 * 60 - 1, HealthStatus.HEALTHY))
    _, a_day_later = store.record(_at(24 * 60, HealthStatus.HEALTHY))

    assert (just_before.failures_24h, a_day_later.failures_24h) == (1, 0)


def test_the_circuit_opened_when_it_left_closed(database: Database, clock: FakeClock) -> None:
    store = HealthStore(database, clock)
    states = [
        CircuitState.CLOSED,
        CircuitState.OPEN,
        CircuitState.HALF_OPEN,
        CircuitState.OPEN,
        CircuitState.CLOSED,
    ]

    opened = [
        store.record(_at(n, HealthStatus.UNHEALTHY, circuit))[1].opened_at for n, circuit in enumerate(states)
    ]

    assert opened == [None, NOON + _MINUTE, NOON + _MINUTE, NOON + _MINUTE, None]


def test_history_is_newest_first_and_may_begin_at_a_time(database: Database, clock: FakeClock) -> None:
    store = HealthStore(database, clock)
    checks = [_at(n, HealthStatus.HEALTHY) for n in range(5)]
    for check in checks:
        store.record(check)
    store.record(health_check(integration="sms"))

    assert store.history("address", limit=2) == [checks[4], checks[3]]
    assert store.history("address", since=NOON + 3 * _MINUTE) == [checks[4], checks[3]]
    assert set(store.all()) == {"address", "sms"}


@pytest.mark.fault("LW-04")
def test_a_message_that_no_database_can_hold_is_mended(database: Database, clock: FakeClock) -> None:
    store = HealthStore(database, clock)

    _, after = store.record(health_check(message="a\0b", details={"juso": "half \ud83d of a pair"}))

    assert after == store.all()["address"]
    assert "\0" not in after.message


# One fixture serves all examples: each example empties or replaces what it reads.
@settings(suppress_health_check=[HypothesisCheck.function_scoped_fixture], max_examples=25)
@given(
    checks=st.lists(
        st.tuples(st.integers(1, 900), st.sampled_from(HealthStatus), st.sampled_from(CircuitState)),
        min_size=1,
        max_size=15,
    )
)
def test_the_record_equals_a_recount_of_its_history(
    sqlite_database: Database, checks: list[tuple[int, HealthStatus, CircuitState]]
) -> None:
    with sqlite_database.writing() as connection:
        connection.execute(integration_health.delete())
        connection.execute(integration_health_checks.delete())
    store = HealthStore(sqlite_database, FakeClock())
    minute = 0
    for pause, status, circuit in checks:
        minute += pause
        store.record(_at(minute, status, circuit))

    record = store.all()["address"]
    history = store.history("address")
    now = history[0].checked_at

    failed = [check.checked_at for check in history if check.status is HealthStatus.UNHEALTHY]
    answered = [check.checked_at for check in history if check.status is not HealthStatus.UNHEALTHY]
    assert record.failures_24h == sum(at > now - timedelta(hours=24) for at in failed)
    assert record.last_failure_at == max(failed, default=None)
    assert record.last_success_at == max(answered, default=None)
    assert record.consecutive_failures == sum(at > max(answered, default=NOON) for at in failed)
    assert record.opened_at == _opened_at(history)


def _opened_at(newest_first: list[HealthCheck]) -> datetime | None:
    opened = None
    for check in newest_first:
        if check.circuit_state is CircuitState.CLOSED:
            break
        opened = check.checked_at
    return opened


def test_checks_recorded_at_the_same_time_are_all_counted(database: Database, clock: FakeClock) -> None:
    """Eight threads, five checks each, one integration: no failure is lost, and each sees one more."""
    store = HealthStore(database, clock)
    with ThreadPoolExecutor(8) as pool:
        records = list(pool.map(lambda n: store.record(_at(n, HealthStatus.UNHEALTHY))[1], range(40)))

    assert sorted(record.consecutive_failures for record in records) == list(range(1, 41))
    assert store.all()["address"].consecutive_failures == 40
    assert len(store.history("address")) == 40
