"""The monitor keeps what checks find out, and raises one alert for each change for the worse."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import IntegrationDisabled
from core.health.monitor import HealthMonitor
from core.integrations.base import ProviderCheck
from core.model.alert import Severity
from core.model.call_record import Attempt
from core.model.health import HealthCheck, HealthRecord, HealthStatus
from core.model.verdict import Verdict
from core.policies.admission import AdmissionPolicy
from core.policies.policy import CallPolicy
from core.policies.retry import RetryPolicy
from core.state.memory import MemoryState
from tests.builders import health_check
from tests.fakes import FakeClock

POLICY = CallPolicy(1, 5, RetryPolicy(), AdmissionPolicy(), None)


@dataclass
class Patient:
    """An integration with one provider that is as well as the test says."""

    name: str = "address"
    verdict: Verdict = Verdict.OK
    gate: threading.Barrier | None = None
    policy: CallPolicy = POLICY
    is_enabled: bool = True

    @property
    def circuits(self) -> dict[str, str]:
        return {"juso": f"{self.name}.juso"}

    def health_check(self) -> tuple[ProviderCheck, ...]:
        if self.gate is not None:
            self.gate.wait(timeout=10)
        return (ProviderCheck("juso", Attempt("juso", 1, 0.0, 12.0, self.verdict)),)


@dataclass
class Records:
    """Keeps the newest record of each integration, as the database does."""

    checks: list[HealthCheck] = field(default_factory=list)
    newest: dict[str, HealthRecord] = field(default_factory=dict)

    def record(self, check: HealthCheck) -> tuple[HealthRecord | None, HealthRecord]:
        before = self.newest.get(check.integration)
        after = HealthRecord(
            integration=check.integration,
            status=check.status,
            circuit_state=check.circuit_state,
            last_check_at=check.checked_at,
            last_success_at=None,
            last_failure_at=None,
            consecutive_failures=0,
            failures_24h=0,
            opened_at=None,
            message=check.message,
            details=check.details,
        )
        self.checks.append(check)
        self.newest[check.integration] = after
        return before, after


@dataclass
class Alerts:
    """One open alert a rule and integration, as the database has it; `fired` keeps all there ever were."""

    open: dict[tuple[str, str], Severity] = field(default_factory=dict)
    fired: list[str] = field(default_factory=list)

    def fire(
        self, rule: str, integration: str, severity: Severity, message: str, details: dict[str, str]
    ) -> bool:
        was = self.open.get((rule, integration))
        self.open[rule, integration] = severity
        is_news = was is None or severity.is_worse_than(was)
        if is_news:
            self.fired.append(f"{severity}: {message}")
        return is_news

    def resolve(self, rule: str, integration: str) -> bool:
        return self.open.pop((rule, integration), None) is not None


@dataclass
class Ward:
    """A monitor with all that it needs."""

    clock: FakeClock
    records: Records = field(default_factory=Records)
    alerts: Alerts = field(default_factory=Alerts)

    def __post_init__(self) -> None:
        self.monitor = HealthMonitor(
            state=MemoryState(self.clock),
            records=self.records,
            alerts=self.alerts,
            recent_totals=dict,
            clock=self.clock,
        )

    def turn(self, status: HealthStatus) -> None:
        """A check finds `status`."""
        self.monitor.update_health_status(health_check(status=status, message="As found."))


@pytest.fixture
def ward(clock: FakeClock) -> Ward:
    return Ward(clock)


def test_a_check_is_kept_with_what_it_found(ward: Ward) -> None:
    ward.monitor.register_integration(Patient(verdict=Verdict.UNAVAILABLE))

    check = ward.monitor.check_health("address")

    assert check.status is HealthStatus.UNHEALTHY
    assert check.details == {"juso": "unavailable"}
    assert ward.records.checks == [check]


def test_an_integration_nobody_registered_cannot_be_checked(ward: Ward) -> None:
    with pytest.raises(KeyError):
        ward.monitor.check_health("fax")


def test_what_is_switched_off_is_not_asked_and_has_no_alert(ward: Ward) -> None:
    off = Patient(verdict=Verdict.UNAVAILABLE)
    ward.monitor.register_integration(off)
    ward.monitor.check_all_health()
    assert ward.alerts.open
    off.is_enabled = False

    assert ward.monitor.check_all_health() == []
    assert not ward.alerts.open
    with pytest.raises(IntegrationDisabled):
        ward.monitor.check_health("address")


def test_with_nothing_registered_there_is_nothing_to_check(ward: Ward) -> None:
    assert ward.monitor.check_all_health() == []


@pytest.mark.property(39)
@given(count=st.integers(2, 8))
def test_all_checks_run_at_the_same_time(count: int) -> None:
    """Each check waits at a gate that opens only when all of them are there: none can delay another."""
    ward = Ward(FakeClock())
    gate = threading.Barrier(count)
    for number in range(count):
        ward.monitor.register_integration(Patient(name=f"integration-{number}", gate=gate))

    checks = ward.monitor.check_all_health()

    assert [check.integration for check in checks] == [f"integration-{number}" for number in range(count)]


def test_a_first_check_that_finds_illness_raises_an_alert(ward: Ward) -> None:
    ward.turn(HealthStatus.UNHEALTHY)

    assert ward.alerts.fired == ["critical: address was healthy and is unhealthy. As found."]


@pytest.mark.property(42)
@given(statuses=st.lists(st.sampled_from(list(HealthStatus)), max_size=30))
def test_each_change_for_the_worse_raises_exactly_one_alert(statuses: list[HealthStatus]) -> None:
    """Staying ill raises none, getting better raises none, and health leaves no alert open."""
    ward = Ward(FakeClock())
    worse = 0
    was = HealthStatus.HEALTHY
    for status in statuses:
        worse += status.badness > was.badness
        was = status

        ward.turn(status)

        assert len(ward.alerts.fired) == worse
        assert bool(ward.alerts.open) == (status is not HealthStatus.HEALTHY)
