"""Alerts: a rule has at most one that is open for an integration, and the database itself sees to it."""

from __future__ import annotations

from typing import Final

from sqlalchemy import RowMapping, select
from uuid_utils.compat import uuid7

from core.clock import Clock
from core.model.alert import Alert
from core.persistence.database import Database
from core.persistence.tables import alerts as table
from core.persistence.text import storable
from core.persistence.upsert import insert_new

_FIRING: Final = "firing"
_RESOLVED: Final = "resolved"


class AlertStore:
    """The table `alerts`. Threads and processes may share it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def fire(self, rule: str, integration: str, severity: str, message: str, details: dict[str, str]) -> bool:
        """Open an alert. False when the rule has one open for the integration already: that one stays as it is."""
        row = {
            "id": uuid7(),
            "rule": rule,
            "integration_name": integration,
            "severity": severity,
            "status": _FIRING,
            "message": storable(message),
            "details": {storable(name): storable(value) for name, value in details.items()},
            "fired_at": self._clock.now(),
        }
        with self._database.writing() as connection:
            return insert_new(connection, table, row)

    def resolve(self, rule: str, integration: str) -> bool:
        """Close the open alert of the rule for the integration. False when there is none."""
        change = (
            table.update()
            .where(table.c.rule == rule, table.c.integration_name == integration)
            .where(table.c.status != _RESOLVED)
            .values(status=_RESOLVED, resolved_at=self._clock.now())
        )
        with self._database.writing() as connection:
            return connection.execute(change).rowcount == 1

    def open(self) -> list[Alert]:
        """Every alert that is not resolved, oldest first."""
        query = select(table).where(table.c.status != _RESOLVED).order_by(table.c.fired_at, table.c.id)
        with self._database.reading() as connection:
            return [_alert(row) for row in connection.execute(query).mappings()]

    def latest(self, limit: int = 50) -> list[Alert]:
        """The last alerts, resolved or not, newest first."""
        query = select(table).order_by(table.c.fired_at.desc(), table.c.id.desc()).limit(limit)
        with self._database.reading() as connection:
            return [_alert(row) for row in connection.execute(query).mappings()]


def _alert(row: RowMapping) -> Alert:
    return Alert(
        id=row["id"],
        rule=row["rule"],
        integration=row["integration_name"],
        severity=row["severity"],
        status=row["status"],
        message=row["message"],
        details=row["details"],
        fired_at=row["fired_at"],
        acknowledged_at=row["acknowledged_at"],
        acknowledged_by=row["acknowledged_by"],
        resolved_at=row["resolved_at"],
    )
