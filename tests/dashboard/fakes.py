"""A hub in memory for pages, API and browser: its sign-in is the real one, its integrations are made up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from core.access.access import Access
from core.clock import Clock
from core.config.environment import load
from core.config.integration import IntegrationConfig
from core.crypto import Keyring
from core.errors import DatabaseUnreachable
from core.model.health import CircuitState, HealthCheck, HealthRecord, HealthStatus
from core.model.overview import CallTotals, CircuitView, IntegrationOverview
from core.persistence.database import Database
from core.redaction import Redactor
from core.settings import Settings
from tests.fakes import NOON

PASSWORD: Final = "a beacon on the hill"
BUSY_HOUR: Final = CallTotals(
    total=1_284,
    successful=1_270,
    failed=14,
    cached=803,
    p50_ms=38.0,
    p95_ms=212.4,
    p99_ms=604.0,
    max_ms=1_900.0,
)


def overview(
    name: str = "address",
    title: str = "주소 검색",
    status: HealthStatus | None = HealthStatus.HEALTHY,
    *,
    at: datetime = NOON,
    totals: CallTotals = BUSY_HOUR,
    circuits: tuple[CircuitView, ...] = (
        CircuitView("juso", CircuitState.CLOSED, 0, 0.0),
        CircuitView("kakao", CircuitState.CLOSED, 0, 0.0),
    ),
    message: str = "All providers answered.",
    is_mock_mode: bool = False,
    is_enabled: bool = True,
) -> IntegrationOverview:
    """One integration; without a status it was never checked."""
    return IntegrationOverview(
        name=name,
        title=title,
        type="api",
        is_enabled=is_enabled,
        is_mock_mode=is_mock_mode,
        circuits=circuits,
        health=None if status is None else _record(name, status, at, message),
        totals=totals,
        since=at - timedelta(hours=1),
    )


def _record(name: str, status: HealthStatus, at: datetime, message: str) -> HealthRecord:
    is_ill = status is not HealthStatus.HEALTHY
    return HealthRecord(
        integration=name,
        status=status,
        circuit_state=CircuitState.CLOSED,
        last_check_at=at,
        last_success_at=at,
        last_failure_at=at if is_ill else None,
        consecutive_failures=3 if is_ill else 0,
        failures_24h=7 if is_ill else 0,
        opened_at=None,
        message=message,
        details={},
    )


def checks(name: str, statuses: list[HealthStatus], *, at: datetime = NOON) -> list[HealthCheck]:
    """One check every five minutes, the newest first."""
    return [
        HealthCheck(
            integration=name,
            checked_at=at - timedelta(minutes=5 * place),
            status=status,
            circuit_state=CircuitState.CLOSED,
            duration_ms=31.4 + place,
            message="All providers answered." if status is HealthStatus.HEALTHY else "juso is not well.",
            details={},
        )
        for place, status in enumerate(statuses)
    ]


class FakeHub:
    """What the web asks of a hub. `is_away` makes every question about integrations fail as a lost database does."""

    version = "0.1.0"

    def __init__(self, database: Database, clock: Clock, settings: Settings | None = None) -> None:
        self.settings = settings or Settings(demo=False)
        self.clock = clock
        self.access = Access(database, clock, self.settings, Keyring.in_memory())
        self.redactor = Redactor(())
        self.configs: Mapping[str, IntegrationConfig] = load({}).integrations
        self.state_degraded_since: datetime | None = None
        self.integrations: list[IntegrationOverview] = []
        self.checks: dict[str, list[HealthCheck]] = {}
        self.checked_by: list[tuple[str, str]] = []
        self.is_away = False
        self.is_closed = False

    def overview(self, last_minutes: int = 60) -> list[IntegrationOverview]:
        self._answer()
        return list(self.integrations)

    def check_now(self, name: str, *, by: str) -> HealthCheck:
        """A check that finds the integration healthy, whatever it was before."""
        self._answer()
        self.checked_by.append((name, by))
        check = checks(name, [HealthStatus.HEALTHY], at=self.clock.now())[0]
        self.checks.setdefault(name, []).insert(0, check)
        self.integrations = [self._after(check, one) for one in self.integrations]
        return check

    def health_history(self, name: str, limit: int) -> list[HealthCheck]:
        self._answer()
        return self.checks.get(name, [])[:limit]

    def close(self) -> None:
        self.is_closed = True

    def _answer(self) -> None:
        if self.is_away:
            raise DatabaseUnreachable("postgresql+psycopg://db.example/bongsu", "connection refused")

    def _after(self, check: HealthCheck, one: IntegrationOverview) -> IntegrationOverview:
        if one.name != check.integration:
            return one
        return replace(
            overview(one.name, one.title, check.status, at=check.checked_at), circuits=one.circuits
        )


def settings_at(directory: Path, **changes: object) -> Settings:
    """Settings whose data directory is `directory`, without demo traffic unless asked for."""
    return Settings.model_validate({"data_dir": directory, "demo": False, **changes})
