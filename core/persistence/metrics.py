"""Windows of metrics: written again and again while they grow, read by range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import func, select

from core.model.metric_window import MetricWindow
from core.persistence.database import Database
from core.persistence.tables import integration_metrics as table
from core.persistence.upsert import insert_or_replace


class MetricsStore:
    """The table `integration_metrics`. Threads may share one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def upsert(self, windows: Sequence[MetricWindow]) -> None:
        """Keep these windows, each in the place of what was known of it. All or none."""
        if not windows:
            return
        with self._database.writing() as connection:
            insert_or_replace(connection, table, [asdict(window) for window in windows])

    def between(
        self, start: datetime, end: datetime, integration: str | None = None, window_minutes: int = 5
    ) -> list[MetricWindow]:
        """The windows of that length which start at `start` or later and before `end`, oldest first."""
        query = (
            select(table)
            .where(table.c.window_minutes == window_minutes)
            .where(table.c.window_start >= start, table.c.window_start < end)
            .order_by(table.c.window_start, table.c.integration_name, table.c.operation)
        )
        if integration is not None:
            query = query.where(table.c.integration_name == integration)
        with self._database.reading() as connection:
            return [MetricWindow(**row) for row in connection.execute(query).mappings()]

    def newest_start(self, window_minutes: int = 5) -> datetime | None:
        """When the newest window of that length starts, None when there is none."""
        query = select(func.max(table.c.window_start)).where(table.c.window_minutes == window_minutes)
        with self._database.reading() as connection:
            newest: datetime | None = connection.execute(query).scalar_one()
            return newest
