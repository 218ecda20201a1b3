"""Runs of jobs: who has which, and how they ended. That a run is claimed once is the database's promise."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import RowMapping, func, select
from uuid_utils.compat import uuid7

from core.clock import Clock
from core.model.job_run import JobRun, Outcome
from core.persistence.database import Database
from core.persistence.tables import job_runs as table
from core.persistence.text import storable
from core.persistence.upsert import insert_new


class JobRuns:
    """The table `job_runs`. Threads and processes may share it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def claim(self, job: str, scheduled_for: datetime, worker: str) -> UUID | None:
        """Begin the run of `job` that was due at `scheduled_for`. None when another process has it, or had it."""
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
            return run if insert_new(connection, table, row) else None

    def succeed(self, run: UUID, summary: str) -> None:
        """End a run that did what it should. `summary` is a few words for people."""
        self._end(run, Outcome.SUCCEEDED, summary=storable(summary))

    def fail(self, run: UUID, error: str) -> None:
        """End a run that failed. `error` is the reason, already redacted."""
        self._end(run, Outcome.FAILED, error=storable(error))

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
            .where(table.c.id == run)
            .values(outcome=outcome, summary=summary, error=error, ended_at=self._clock.now())
        )
        with self._database.writing() as connection:
            connection.execute(change)


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
