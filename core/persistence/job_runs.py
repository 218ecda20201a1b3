"""Runs of jobs: who has which, and how they ended. That a run is claimed once is the database's promise."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, RowMapping, case, func, select
from uuid_utils.compat import uuid7

from core.clock import Clock
from core.model.job_run import JobRun, Outcome
from core.persistence.database import Database
from core.persistence.tables import job_runs as table
from core.persistence.text import storable
from core.persistence.upsert import insert_new

INTERRUPTED: Final = "interrupted"
"""The error of a run whose process ended before it. Its due time can be had once more."""

_TWICE: Final = "interrupted twice"
_ONCE_MORE: Final = "once more, after an interruption"


class JobRuns:
    """The table `job_runs`. Threads and processes may share it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def claim(self, job: str, scheduled_for: datetime, worker: str) -> UUID | None:
        """Begin the run of `job` that was due at `scheduled_for`. None when another process has it, or had it.

        A run that was interrupted can be had once more: it takes the place of the one before, under an id of its own.
        """
        run = uuid7()
        row = {
            "id": run,
            "job_name": job,
            "scheduled_for": scheduled_for,
            "started_at": self._clock.now(),
            "outcome": Outcome.RUNNING,
            "worker": worker,
        }
        with self._database.writing() as connection:
            return run if insert_new(connection, table, row) or _take_over(connection, row) else None

    def succeed(self, run: UUID, summary: str) -> None:
        """End a run that did what it should. `summary` is a few words for people."""
        self._end(run, Outcome.SUCCEEDED, summary=storable(summary))

    def fail(self, run: UUID, error: str) -> None:
        """End a run that failed. `error` is the reason, already redacted."""
        self._end(run, Outcome.FAILED, error=storable(error))

    def interrupt(self, run: UUID) -> None:
        """End a run whose process is gone, or is about to be. Nothing when it has ended meanwhile."""
        again = case((table.c.summary == _ONCE_MORE, _TWICE), else_=INTERRUPTED)
        change = (
            table.update()
            .where(table.c.id == run, table.c.outcome == Outcome.RUNNING)
            .values(outcome=Outcome.FAILED, summary=None, error=again, ended_at=self._clock.now())
        )
        with self._database.writing() as connection:
            connection.execute(change)

    def running(self) -> list[JobRun]:
        """The runs that have not ended, oldest first, as far as the record goes."""
        query = (
            select(table).where(table.c.outcome == Outcome.RUNNING).order_by(table.c.started_at, table.c.id)
        )
        with self._database.reading() as connection:
            return [_run(row) for row in connection.execute(query).mappings()]

    def latest(self, limit: int = 50, job: str | None = None) -> list[JobRun]:
        """The last runs, of all jobs or of one, newest first."""
        query = select(table).order_by(table.c.started_at.desc(), table.c.id.desc()).limit(limit)
        if job is not None:
            query = query.where(table.c.job_name == job)
        with self._database.reading() as connection:
            return [_run(row) for row in connection.execute(query).mappings()]

    def last_of_each(self) -> dict[str, JobRun]:
        """The run of each job that was due last, by the job's name."""
        newest = (
            select(table.c.job_name, func.max(table.c.scheduled_for).label("scheduled_for"))
            .group_by(table.c.job_name)
            .subquery()
        )
        query = select(table).join(
            newest,
            (table.c.job_name == newest.c.job_name) & (table.c.scheduled_for == newest.c.scheduled_for),
        )
        with self._database.reading() as connection:
            runs = [_run(row) for row in connection.execute(query).mappings()]
        return {run.job: run for run in sorted(runs, key=lambda run: run.job)}

    def _end(
        self, run: UUID, outcome: Outcome, *, summary: str | None = None, error: str | None = None
    ) -> None:
        change = (
            table.update()
            .where(table.c.id == run, table.c.outcome == Outcome.RUNNING)
            .values(outcome=outcome, summary=summary, error=error, ended_at=self._clock.now())
        )
        with self._database.writing() as connection:
            connection.execute(change)


def _take_over(connection: Connection, row: Mapping[str, object]) -> bool:
    """Let `row` take the place of the run of the same due time, if that was interrupted, and only once."""
    change = (
        table.update()
        .where(table.c.job_name == row["job_name"], table.c.scheduled_for == row["scheduled_for"])
        .where(table.c.outcome == Outcome.FAILED, table.c.error == INTERRUPTED)
        .values(**row, summary=_ONCE_MORE, error=None, ended_at=None)
    )
    return connection.execute(change).rowcount == 1


def _run(row: RowMapping) -> JobRun:
    return JobRun(
        id=row["id"],
        job=row["job_name"],
        scheduled_for=row["scheduled_for"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        outcome=Outcome(row["outcome"]),
        summary=row["summary"],
        error=row["error"],
        worker=row["worker"],
    )
