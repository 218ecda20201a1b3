"""When jobs are due: at every whole multiple of their period, counted from midnight UTC."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.schedule import JOBS, last_due, next_due

FIVE = timedelta(minutes=5)
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


def test_health_and_metrics_are_due_every_five_minutes() -> None:
    assert {job.name: job.every for job in JOBS} == {"check_health": FIVE, "aggregate_metrics": FIVE}


def test_a_due_time_counts_as_due_at_that_very_moment() -> None:
    at = datetime(2026, 3, 2, 12, 5, tzinfo=UTC)

    assert last_due(at, FIVE) == at
    assert next_due(at, FIVE) == at + FIVE


def test_a_period_that_does_not_divide_the_day_starts_anew_at_midnight() -> None:
    late = datetime(2026, 3, 2, 23, 50, tzinfo=UTC)

    assert next_due(late, timedelta(hours=7)) == datetime(2026, 3, 3, tzinfo=UTC)


@pytest.mark.property(39)
@given(
    start=st.integers(0, 10 * 365 * 86_400).map(lambda seconds: EPOCH + timedelta(seconds=seconds)),
    minutes=st.integers(1, 90),
)
def test_over_any_day_a_job_is_due_every_period_and_never_twice(start: datetime, minutes: int) -> None:
    """Following one due time to the next covers the day in steps of the period, cut only at midnight."""
    every = timedelta(minutes=minutes)
    at, seen = start, [last_due(start, every)]
    while at < start + timedelta(days=1):
        at = next_due(at, every)
        seen.append(at)

    assert seen == sorted(set(seen))
    for earlier, later in itertools.pairwise(seen):
        assert later - earlier == every or (later - earlier < every and later.hour == later.minute == 0)
        assert last_due(later - timedelta(microseconds=1), every) == earlier
