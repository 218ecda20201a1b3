"""Alerts: a rule has at most one that is open for an integration, and the database itself sees to it."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sqlalchemy import RowMapping, Select, Update, select
from uuid_utils.compat import uuid7

from core.clock import Clock
from core.model.alert import Alert, Severity
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

    def fire(
        self, rule: str, integration: str, severity: Severity, message: str, details: dict[str, str]
    ) -> bool:
        """Have one alert of the rule open for the integration, of this severity.

        True when that is news: none was open, or a milder one, which this one takes the place of. An open one
        that is as bad stays as it is; one that is worse is told down in place.
        """
        new = {
            "severity": severity.value,
            "message": storable(message),
            "details": {storable(name): storable(value) for name, value in details.items()},
        }
        with self._database.writing() as connection:
            open_one = connection.execute(_open_one(rule, integration)).one_or_none()
            if open_one is not None:
                was = Severity(open_one.severity)
                if severity is was:
                    return False
                if was.is_worse_than(severity):
                    connection.execute(table.update().where(table.c.id == open_one.id).values(new))
                    return False
                connection.execute(self._resolution().where(table.c.id == open_one.id))
            row = {
                "id": uuid7(),
                "rule": rule,
                "integration_name": integration,
                "status": _FIRING,
                "fired_at": self._clock.now(),
                **new,
            }
            return insert_new(connection, table, row)

    def resolve(self, rule: str, integration: str) -> bool:
        """Close the open alert of the rule for the integration. False when there is none."""
        change = self._resolution().where(table.c.rule == rule, table.c.integration_name == integration)
        with self._database.writing() as connection:
            return connection.execute(change.where(table.c.status != _RESOLVED)).rowcount == 1

    def open(self) -> list[Alert]:
        """Every alert that is not resolved, oldest first."""
        query = select(table).where(table.c.status != _RESOLVED).order_by(table.c.fired_at, table.c.id)
        with self._database.reading() as connection:
            return [_alert(row) for row in connection.execute(query).mappings()]

    def _resolution(self) -> Update:
        return table.update().values(status=_RESOLVED, resolved_at=self._clock.now())

    def latest(self, limit: int = 50) -> list[Alert]:
        """The last alerts, resolved or not, newest first."""
        query = select(table).order_by(table.c.fired_at.desc(), table.c.id.desc()).limit(limit)
        with self._database.reading() as connection:
            return [_alert(row) for row in connection.execute(query).mappings()]


def _open_one(rule: str, integration: str) -> Select[tuple[UUID, str]]:
    return (
        select(table.c.id, table.c.severity)
        .where(table.c.rule == rule, table.c.integration_name == integration, table.c.status != _RESOLVED)
        .with_for_update()
    )


def _alert(row: RowMapping) -> Alert:
    return Alert(
        id=row["id"],
        rule=row["rule"],
        integration=row["integration_name"],
        severity=Severity(row["severity"]),
        status=row["status"],
        message=row["message"],
        details=row["details"],
        fired_at=row["fired_at"],
        acknowledged_at=row["acknowledged_at"],
        acknowledged_by=row["acknowledged_by"],
        resolved_at=row["resolved_at"],
    )
