"""Alerts over real stores: none is lost, none is left open on a healthy integration, one a change for the worse."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import StorageError
from core.health.monitor import Alerts, HealthMonitor
from core.model.alert import Alert, Severity
from core.model.health import HealthStatus
from core.persistence.alerts import AlertStore
from core.persistence.database import Database
from core.persistence.health import HealthStore
from core.state.memory import MemoryState
from tests.builders import health_check
from tests.fakes import FakeClock

SEVERITIES = {HealthStatus.DEGRADED: "warning", HealthStatus.UNHEALTHY: "critical"}
statuses = st.sampled_from(list(HealthStatus))
several = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
"""Each example has an integration of its own, so that they may share a database."""


class FailingAlerts:
    """An alert store that fails where it is told to, before anything is kept or after it."""

    def __init__(self, store: AlertStore) -> None:
        self._store = store
        self.fails: str | None = None

    def fire(
        self, rule: str, integration: str, severity: Severity, message: str, details: dict[str, str]
    ) -> bool:
        self._fail("before")
        is_news = self._store.fire(rule, integration, severity, message, details)
        self._fail("after")
        return is_news

    def resolve(self, rule: str, integration: str) -> bool:
        self._fail("before")
        is_news = self._store.resolve(rule, integration)
        self._fail("after")
        return is_news

    def _fail(self, when: str) -> None:
        if self.fails == when:
            raise StorageError("the disk is full")


def monitor(database: Database, clock: FakeClock, alerts: Alerts | None = None) -> HealthMonitor:
    return HealthMonitor(
        state=MemoryState(clock),
        records=HealthStore(database, clock),
        alerts=alerts or AlertStore(database, clock),
        recent_totals=dict,
        clock=clock,
    )


def alerts_of(database: Database, clock: FakeClock, integration: str) -> list[Alert]:
    """All that were ever raised, oldest first."""
    found = AlertStore(database, clock).latest(100_000)
    return [alert for alert in reversed(found) if alert.integration == integration]


def severities_open(alerts: Sequence[Alert]) -> list[str]:
    return [str(alert.severity) for alert in alerts if alert.status != "resolved"]


def expected(status: HealthStatus) -> list[str]:
    """The alerts that are open when this is how it is."""
    return [SEVERITIES[status]] if status in SEVERITIES else []


@pytest.mark.property(42)
@several
@given(found=st.lists(statuses, min_size=1, max_size=8))
def test_of_two_checkers_that_find_the_same_at_once_one_raises_the_alert(
    database: Database, found: list[HealthStatus]
) -> None:
    """As many alerts as changes for the worse, though every check is made twice at the same time."""
    clock, integration = FakeClock(), f"address-{uuid4()}"
    checkers = [monitor(database, clock) for _ in range(2)]
    meeting = threading.Barrier(2)

    def check(checker: HealthMonitor, status: HealthStatus) -> None:
        meeting.wait(30)
        checker.update_health_status(health_check(integration=integration, status=status))

    with ThreadPoolExecutor(2) as pool:
        for status in found:
            list(pool.map(check, checkers, [status, status]))
            assert severities_open(alerts_of(database, clock, integration)) == expected(status)
            clock.advance(300)

    worse = sum(after.badness > before.badness for before, after in pairwise([HealthStatus.HEALTHY, *found]))
    assert len(alerts_of(database, clock, integration)) == worse


@pytest.mark.property(42)
@several
@given(rounds=st.lists(st.tuples(statuses, statuses), min_size=1, max_size=8), last=statuses)
def test_whatever_two_racing_checkers_find_the_next_check_leaves_the_alert_that_is_due(
    database: Database, rounds: list[tuple[HealthStatus, HealthStatus]], last: HealthStatus
) -> None:
    """They may disagree and overtake one another: never two open alerts, and one check later it is as it should be."""
    clock, integration = FakeClock(), f"address-{uuid4()}"
    checkers = [monitor(database, clock) for _ in range(2)]
    meeting = threading.Barrier(2)

    def check(checker: HealthMonitor, status: HealthStatus) -> None:
        meeting.wait(30)
        checker.update_health_status(health_check(integration=integration, status=status))

    with ThreadPoolExecutor(2) as pool:
        for both in rounds:
            list(pool.map(check, checkers, both))
            assert len(severities_open(alerts_of(database, clock, integration))) <= 1
            clock.advance(300)
    checkers[0].update_health_status(health_check(integration=integration, status=last))

    assert severities_open(alerts_of(database, clock, integration)) == expected(last)


@pytest.mark.property(42)
@several
@given(
    found=st.lists(
        st.tuples(statuses, st.sampled_from([None, None, "before", "after"])), min_size=1, max_size=12
    ),
    last=statuses,
)
def test_an_alert_store_that_fails_now_and_then_loses_no_alert_and_raises_none_twice(
    database: Database, found: list[tuple[HealthStatus, str | None]], last: HealthStatus
) -> None:
    """The fault is told, and the next check that can be kept does what is still to be done."""
    clock, integration = FakeClock(), f"address-{uuid4()}"
    alerts = FailingAlerts(AlertStore(database, clock))
    checker = monitor(database, clock, alerts)
    was, worse = HealthStatus.HEALTHY, 0
    for status, fails in [*found, (last, None)]:
        check = health_check(integration=integration, status=status)
        alerts.fails = fails
        if fails is None:
            checker.update_health_status(check)
        else:
            with pytest.raises(StorageError):
                checker.update_health_status(check)
        if fails != "before":
            worse += status.badness > was.badness
            was = status
            assert severities_open(alerts_of(database, clock, integration)) == expected(status)
        assert len(alerts_of(database, clock, integration)) == worse
        clock.advance(300)


def test_what_is_known_of_the_integration_is_kept_though_its_alert_cannot_be_raised(
    sqlite_database: Database, clock: FakeClock
) -> None:
    alerts = FailingAlerts(AlertStore(sqlite_database, clock))
    alerts.fails = "before"

    with pytest.raises(StorageError):
        monitor(sqlite_database, clock, alerts).update_health_status(
            health_check(status=HealthStatus.UNHEALTHY)
        )

    assert HealthStore(sqlite_database, clock).all()["address"].status is HealthStatus.UNHEALTHY
