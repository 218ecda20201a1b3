"""`HealthMonitor`: checks integrations, keeps what was found, and raises an alert when one gets worse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import structlog

from core.clock import Clock
from core.errors import IntegrationDisabled
from core.health.status import ProviderHealth, judge
from core.integrations.base import ProviderCheck
from core.model.alert import Severity
from core.model.call_record import HEALTH_CHECK
from core.model.health import CircuitState, HealthCheck, HealthRecord, HealthStatus
from core.model.identity import new_trace_id, tracing
from core.model.overview import CallTotals
from core.policies.admission import circuit_state
from core.policies.policy import CallPolicy
from core.state.base import StateStore

log = structlog.get_logger()

RULE = "health_degraded"
_SEVERITIES = {HealthStatus.DEGRADED: Severity.WARNING, HealthStatus.UNHEALTHY: Severity.CRITICAL}


class Checkable(Protocol):
    """What the monitor asks of an integration (`core.integrations.base.BaseIntegration`)."""

    @property
    def name(self) -> str: ...

    @property
    def is_enabled(self) -> bool: ...

    @property
    def circuits(self) -> dict[str, str]:
        """The circuit of each provider that can be asked."""

    @property
    def policy(self) -> CallPolicy: ...

    def health_check(self) -> tuple[ProviderCheck, ...]:
        """Ask each provider whether it is well."""


class HealthRecords(Protocol):
    """Where checks are kept (`core.persistence.health.HealthStore`)."""

    def record(self, check: HealthCheck) -> tuple[HealthRecord | None, HealthRecord]:
        """Keep a check; what was known before and what is known now."""


class Alerts(Protocol):
    """Where alerts are kept (`core.persistence.alerts.AlertStore`)."""

    def fire(
        self, rule: str, integration: str, severity: Severity, message: str, details: dict[str, str]
    ) -> bool:
        """Have an alert of this severity open; whether that is news."""

    def resolve(self, rule: str, integration: str) -> bool:
        """Close the open alert; False when there is none."""


class HealthMonitor:
    """Finds out how well the registered integrations are. Threads may share one."""

    def __init__(
        self,
        *,
        state: StateStore,
        records: HealthRecords,
        alerts: Alerts,
        recent_totals: Callable[[], Mapping[str, CallTotals]],
        clock: Clock,
    ) -> None:
        """`recent_totals` gives the calls of the last quarter of an hour, by integration."""
        self._state = state
        self._records = records
        self._alerts = alerts
        self._recent_totals = recent_totals
        self._clock = clock
        self._integrations: dict[str, Checkable] = {}

    def register_integration(self, integration: Checkable) -> None:
        """Have this integration checked from now on."""
        self._integrations[integration.name] = integration

    def check_health(self, name: str) -> HealthCheck:
        """Check one integration now, keep what was found, and alert if it got worse.

        Raises `KeyError` when no integration of that name is registered, and `IntegrationDisabled` when it is
        switched off.
        """
        integration = self._integrations[name]
        if not integration.is_enabled:
            raise IntegrationDisabled(integration=name, operation=HEALTH_CHECK)
        return self._checked(integration, self._recent_totals())

    def check_all_health(self) -> list[HealthCheck]:
        """Check every integration that is switched on, all at the same time, so that a slow one delays no other.

        One that is switched off is not asked, and has no alert.
        """
        wanted = [integration for integration in self._integrations.values() if integration.is_enabled]
        for integration in self._integrations.values():
            if not integration.is_enabled:
                self._alerts.resolve(RULE, integration.name)
        if not wanted:
            return []
        recent = self._recent_totals()
        with ThreadPoolExecutor(len(wanted), thread_name_prefix="health") as pool:
            return list(pool.map(lambda integration: self._checked(integration, recent), wanted))

    def update_health_status(self, check: HealthCheck) -> HealthRecord:
        """Keep a check, and alert if the integration got worse by it."""
        before, after = self._records.record(check)
        self.alert_on_degradation(before, after)
        return after

    def alert_on_degradation(self, before: HealthRecord | None, after: HealthRecord) -> None:
        """A change for the worse raises one alert, staying ill raises none, health closes it.

        What decides is the alert that is open, not the change that was seen: so an alert that could not be raised
        is raised by the next check, and none stays open when checks overtake one another.
        """
        if after.status is HealthStatus.HEALTHY:
            if self._alerts.resolve(RULE, after.integration):
                log.info("health_recovered", integration=after.integration)
            return
        was = before.status if before else HealthStatus.HEALTHY
        change = f"was {was.value} and is" if was is not after.status else "is"
        is_news = self._alerts.fire(
            RULE,
            after.integration,
            _SEVERITIES[after.status],
            f"{after.integration} {change} {after.status.value}. {after.message}",
            after.details,
        )
        if is_news:
            log.warning("health_worse", integration=after.integration, was=was, now=after.status)

    def _checked(self, integration: Checkable, recent: Mapping[str, CallTotals]) -> HealthCheck:
        with tracing(new_trace_id()):
            check = self._check(integration, recent.get(integration.name, CallTotals()))
            self.update_health_status(check)
        return check

    def _check(self, integration: Checkable, recent: CallTotals) -> HealthCheck:
        started = self._clock.monotonic()
        checks = integration.health_check()
        circuits = {
            provider: self._circuit(integration, circuit)
            for provider, circuit in integration.circuits.items()
        }
        providers = [
            ProviderHealth(
                provider=check.provider,
                verdict=check.attempt.verdict,
                duration_ms=check.attempt.duration_ms,
                circuit=circuits[check.provider],
                detail=check.attempt.detail,
            )
            for check in checks
        ]
        finding = judge(providers, recent, integration.policy.timeout_s * 1000)
        return HealthCheck(
            integration=integration.name,
            checked_at=self._clock.now(),
            status=finding.status,
            circuit_state=_worst(circuits),
            duration_ms=(self._clock.monotonic() - started) * 1000,
            message=finding.message,
            details=dict(finding.details),
        )

    def _circuit(self, integration: Checkable, circuit: str) -> CircuitState:
        snapshot = self._state.peek(circuit)
        return circuit_state(snapshot.state, integration.policy.admission, snapshot.now)


def _worst(circuits: dict[str, CircuitState]) -> CircuitState:
    for state in (CircuitState.OPEN, CircuitState.HALF_OPEN):
        if state in circuits.values():
            return state
    return CircuitState.CLOSED
