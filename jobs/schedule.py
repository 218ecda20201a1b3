"""Every job and when it is due, on one screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.hub import Hub
from jobs.aggregate_metrics import aggregate_metrics
from jobs.check_health import check_health


@dataclass(frozen=True, slots=True)
class Job:
    """One job: `run` does the work and says in a few words what it did.

    It is due at every whole multiple of `every`, counted from midnight UTC.
    """

    name: str
    every: timedelta
    run: Callable[[Hub], str]


JOBS: tuple[Job, ...] = (
    Job("check_health", timedelta(minutes=5), check_health),
    Job("aggregate_metrics", timedelta(minutes=5), aggregate_metrics),
)


def last_due(now: datetime, every: timedelta) -> datetime:
    """When a job was due last, `now` included."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (now - midnight) // every * every


def next_due(now: datetime, every: timedelta) -> datetime:
    """When a job is due next, `now` excluded. A day that the period does not divide ends with a shorter one."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return min(last_due(now, every) + every, midnight + timedelta(days=1))
