"""A rule has one open alert an integration, however many notice at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from core.model.alert import Severity
from core.persistence.alerts import AlertStore
from core.persistence.database import Database
from tests.fakes import NOON, FakeClock


def _fire(
    store: AlertStore,
    integration: str = "address",
    rule: str = "health_degraded",
    severity: Severity = Severity.WARNING,
) -> bool:
    return store.fire(rule, integration, severity, f"{integration} is degraded", {"kakao": "slow"})


def test_an_alert_that_fires_is_open(database: Database, clock: FakeClock) -> None:
    store = AlertStore(database, clock)

    assert _fire(store)

    [alert] = store.open()
    assert (alert.rule, alert.integration, alert.severity) == ("health_degraded", "address", "warning")
    assert (alert.status, alert.message) == ("firing", "address is degraded")
    assert alert.details == {"kakao": "slow"}
    assert (alert.fired_at, alert.resolved_at) == (NOON, None)


def test_an_alert_that_is_open_does_not_fire_again(database: Database, clock: FakeClock) -> None:
    store = AlertStore(database, clock)
    _fire(store)
    clock.advance(60)

    assert not _fire(store)
    assert [alert.fired_at for alert in store.open()] == [NOON]


def test_other_rules_and_other_integrations_have_alerts_of_their_own(
    database: Database, clock: FakeClock
) -> None:
    store = AlertStore(database, clock)

    assert [_fire(store), _fire(store, "sms"), _fire(store, rule="failure_rate")] == [True, True, True]
    assert len(store.open()) == 3


def test_a_resolved_alert_may_fire_anew(database: Database, clock: FakeClock) -> None:
    store = AlertStore(database, clock)
    _fire(store)
    clock.advance(60)

    assert store.resolve("health_degraded", "address")
    assert not store.resolve("health_degraded", "address")
    assert store.open() == []
    clock.advance(60)
    assert _fire(store)

    newest, oldest = store.latest()
    assert (oldest.status, oldest.resolved_at) == ("resolved", newest.fired_at.replace(minute=1))
    assert store.open() == [newest]
    assert store.latest(limit=1) == [newest]


def test_of_many_that_notice_at_once_one_fires(database: Database, clock: FakeClock) -> None:
    store = AlertStore(database, clock)
    with ThreadPoolExecutor(8) as pool:
        fired = list(pool.map(lambda _: _fire(store), range(24)))

    assert fired.count(True) == 1
    assert len(store.open()) == 1


def test_alerts_that_are_open_are_read_oldest_first(database: Database, clock: FakeClock) -> None:
    store = AlertStore(database, clock)
    for integration in ("sms", "address", "email"):
        _fire(store, integration)
        clock.advance(1)

    assert [alert.integration for alert in store.open()] == ["sms", "address", "email"]
    assert [alert.integration for alert in store.latest()] == ["email", "address", "sms"]


def test_what_gets_worse_fires_anew_and_what_gets_milder_does_not(
    database: Database, clock: FakeClock
) -> None:
    """A warning gives way to a critical alert; a critical one is told down in place, and may get worse again."""
    store = AlertStore(database, clock)
    ways = (Severity.WARNING, Severity.CRITICAL, Severity.CRITICAL, Severity.WARNING, Severity.CRITICAL)

    assert [_fire(store, severity=severity) for severity in ways] == [True, True, False, False, True]

    assert [alert.severity for alert in store.open()] == [Severity.CRITICAL]
    assert len(store.latest()) == 3
