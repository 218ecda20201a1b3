"""How well each integration is now, and every check that led there."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, RowMapping, func, select, text
from uuid_utils.compat import uuid7

from core.clock import Clock
from core.model.health import CircuitState, HealthCheck, HealthRecord, HealthStatus
from core.persistence.database import Database
from core.persistence.tables import integration_health as current
from core.persistence.tables import integration_health_checks as checks
from core.persistence.text import storable
from core.persistence.upsert import insert_or_replace

_DAY: Final = timedelta(hours=24)


class HealthStore:
    """The tables `integration_health` and `integration_health_checks`. Threads and processes may share them."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def record(self, check: HealthCheck) -> tuple[HealthRecord | None, HealthRecord]:
        """Keep a check, and what it means for the integration. What was known before, and what is known now.

        Checks that are recorded at the same time are counted one after the other.
        """
        details = {storable(name): storable(reason) for name, reason in check.details.items()}
        check = replace(check, message=storable(check.message), details=details)
        with self._database.writing() as connection:
            if not self._database.is_sqlite:
                # There may be no row yet that could be locked. Readers are not held up by this.
                connection.execute(text(f"LOCK TABLE {current.name} IN SHARE ROW EXCLUSIVE MODE"))
            before = _find(connection, check.integration)
            connection.execute(checks.insert().values(_check_row(check)))
            after = replace(_after(before, check), failures_24h=_failures_of_a_day(connection, check))
            insert_or_replace(connection, current, [_record_row(after, self._clock.now())])
        return before, after

    def all(self) -> dict[str, HealthRecord]:
        """What is known now of each integration that was ever checked, by name."""
        query = select(current).order_by(current.c.integration_name)
        with self._database.reading() as connection:
            return {row["integration_name"]: _record(row) for row in connection.execute(query).mappings()}

    def history(self, integration: str, limit: int = 100, since: datetime | None = None) -> list[HealthCheck]:
        """The last checks of one integration, newest first; none from before `since`."""
        query = (
            select(checks)
            .where(checks.c.integration_name == integration)
            .order_by(checks.c.checked_at.desc(), checks.c.id.desc())
            .limit(limit)
        )
        if since is not None:
            query = query.where(checks.c.checked_at >= since)
        with self._database.reading() as connection:
            return [_check(row) for row in connection.execute(query).mappings()]


def _after(before: HealthRecord | None, check: HealthCheck) -> HealthRecord:
    """What is known after `check`, apart from the failures of a day."""
    failed = check.status is HealthStatus.UNHEALTHY
    streak = before.consecutive_failures if before else 0
    is_closed = check.circuit_state is CircuitState.CLOSED
    return HealthRecord(
        integration=check.integration,
        status=check.status,
        circuit_state=check.circuit_state,
        last_check_at=check.checked_at,
        last_success_at=(before.last_success_at if before else None) if failed else check.checked_at,
        last_failure_at=check.checked_at if failed else (before.last_failure_at if before else None),
        consecutive_failures=streak + 1 if failed else 0,
        failures_24h=0,
        opened_at=None if is_closed else ((before and before.opened_at) or check.checked_at),
        message=check.message,
        details=check.details,
    )


def _failures_of_a_day(connection: Connection, check: HealthCheck) -> int:
    query = (
        select(func.count())
        .select_from(checks)
        .where(checks.c.integration_name == check.integration)
        .where(checks.c.checked_at > check.checked_at - _DAY, checks.c.checked_at <= check.checked_at)
        .where(checks.c.status == HealthStatus.UNHEALTHY)
    )
    return connection.execute(query).scalar_one()


def _find(connection: Connection, integration: str) -> HealthRecord | None:
    query = select(current).where(current.c.integration_name == integration)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _record(row)


def _record(row: RowMapping) -> HealthRecord:
    return HealthRecord(
        integration=row["integration_name"],
        status=HealthStatus(row["status"]),
        circuit_state=CircuitState(row["circuit_breaker_state"]),
        last_check_at=row["last_check_at"],
        last_success_at=row["last_success_at"],
        last_failure_at=row["last_failure_at"],
        consecutive_failures=row["consecutive_failures"],
        failures_24h=row["failures_24h"],
        opened_at=row["opened_at"],
        message=row["check_message"],
        details=row["check_details"],
    )


def _record_row(record: HealthRecord, now: datetime) -> dict[str, object]:
    return {
        "integration_name": record.integration,
        "status": record.status,
        "last_check_at": record.last_check_at,
        "last_success_at": record.last_success_at,
        "last_failure_at": record.last_failure_at,
        "consecutive_failures": record.consecutive_failures,
        "failures_24h": record.failures_24h,
        "circuit_breaker_state": record.circuit_state,
        "opened_at": record.opened_at,
        "check_message": record.message,
        "check_details": record.details,
        "updated_at": now,
    }


def _check(row: RowMapping) -> HealthCheck:
    return HealthCheck(
        integration=row["integration_name"],
        checked_at=row["checked_at"],
        status=HealthStatus(row["status"]),
        circuit_state=CircuitState(row["circuit_breaker_state"]),
        duration_ms=row["duration_ms"],
        message=row["check_message"],
        details=row["check_details"],
    )


def _check_row(check: HealthCheck) -> dict[str, object]:
    return {
        "id": uuid7(),
        "integration_name": check.integration,
        "checked_at": check.checked_at,
        "status": check.status,
        "circuit_breaker_state": check.circuit_state,
        "duration_ms": check.duration_ms,
        "check_message": check.message,
        "check_details": check.details,
    }
