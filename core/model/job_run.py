"""One run of one job, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class Outcome(StrEnum):
    """How a run ended, if it has."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run. `scheduled_for` is when it was due, `worker` the process that has it; a job is due once a time."""

    id: UUID
    job: str
    scheduled_for: datetime
    started_at: datetime
    ended_at: datetime | None
    outcome: Outcome
    summary: str | None
    error: str | None
    worker: str
