"""A job that is due runs once, whoever asks first, and leaves on record how it ended."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from core.model.job_run import Outcome
from core.persistence.database import Database
from core.persistence.job_runs import JobRuns
from tests.fakes import NOON, FakeClock

_HOUR = timedelta(hours=1)


def test_a_run_is_claimed_once(database: Database, clock: FakeClock) -> None:
    runs = JobRuns(database, clock)

    run = runs.claim("check_health", NOON, "web-1:10")

    assert run is not None
    assert runs.claim("check_health", NOON, "web-2:11") is None
    [kept] = runs.latest()
    assert (kept.id, kept.job, kept.worker) == (run, "check_health", "web-1:10")
    assert (kept.outcome, kept.ended_at) == (Outcome.RUNNING, None)


def test_a_run_that_is_over_is_not_claimed_again(database: Database, clock: FakeClock) -> None:
    runs = JobRuns(database, clock)
    run = runs.claim("check_health", NOON, "a:1")
    assert run is not None
    runs.succeed(run, "4 checked")

    assert runs.claim("check_health", NOON, "b:2") is None


def test_the_next_time_and_another_job_are_other_runs(database: Database, clock: FakeClock) -> None:
    runs = JobRuns(database, clock)
    runs.claim("check_health", NOON, "a:1")

    assert runs.claim("check_health", NOON + _HOUR, "a:1") is not None
    assert runs.claim("aggregate_metrics", NOON, "a:1") is not None


@pytest.mark.fault("SC-01")
def test_of_many_schedulers_each_due_time_goes_to_one(database: Database, clock: FakeClock) -> None:
    """Four schedulers ask for the same twelve due times at once."""
    runs = JobRuns(database, clock)
    asked = [(n, worker) for n in range(12) for worker in ("a:1", "b:2", "c:3", "d:4")]
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda ask: runs.claim("job", NOON + ask[0] * _HOUR, ask[1]), asked))

    assert sum(run is not None for run in claimed) == 12
    assert len({run.scheduled_for for run in runs.latest()}) == 12


def test_how_a_run_ended_is_on_record(database: Database, clock: FakeClock) -> None:
    runs = JobRuns(database, clock)
    good, bad = runs.claim("good", NOON, "a:1"), runs.claim("bad", NOON, "a:1")
    assert good is not None
    assert bad is not None
    clock.advance(2)

    runs.succeed(good, "3 windows")
    runs.fail(bad, "StorageError: the disk is full\0")

    ended = runs.last_of_each()
    assert list(ended) == ["bad", "good"]
    assert (ended["good"].outcome, ended["good"].summary) == (Outcome.SUCCEEDED, "3 windows")
    assert (ended["bad"].outcome, ended["bad"].error) == (
        Outcome.FAILED,
        "StorageError: the disk is full\N{REPLACEMENT CHARACTER}",
    )
    assert ended["good"].ended_at == NOON + timedelta(seconds=2)


def test_the_latest_runs_are_newest_first_and_may_be_of_one_job(database: Database, clock: FakeClock) -> None:
    runs = JobRuns(database, clock)
    for n in range(3):
        for job in ("check_health", "aggregate_metrics"):
            runs.claim(job, NOON + n * _HOUR, "a:1")
        clock.advance(3600)

    latest = runs.latest(limit=2, job="check_health")

    assert [run.scheduled_for for run in latest] == [NOON + 2 * _HOUR, NOON + _HOUR]
    assert {run.job for run in latest} == {"check_health"}
    assert len(runs.latest()) == 6
    assert runs.last_of_each()["aggregate_metrics"].scheduled_for == NOON + 2 * _HOUR


@pytest.mark.fault("SC-01")
def test_an_interrupted_run_can_be_had_once_more_and_only_once(database: Database, clock: FakeClock) -> None:
    """The row of the due time stays the one fence: of many that try, one has it."""
    runs = JobRuns(database, clock)
    first = runs.claim("check_health", NOON, "a:1")
    assert first is not None
    runs.interrupt(first)
    with ThreadPoolExecutor(4) as pool:
        claimed = list(
            pool.map(lambda worker: runs.claim("check_health", NOON, worker), ("b:2", "c:3", "d:4"))
        )

    [second] = [run for run in claimed if run is not None]
    [kept] = runs.latest()
    assert (kept.id, kept.outcome, kept.error, kept.ended_at) == (second, Outcome.RUNNING, None, None)
    runs.interrupt(second)
    assert runs.claim("check_health", NOON, "e:5") is None
    assert [run.error for run in runs.latest()] == ["interrupted twice"]


def test_whoever_was_taken_for_gone_does_not_end_the_run_of_the_one_that_took_over(
    database: Database, clock: FakeClock
) -> None:
    runs = JobRuns(database, clock)
    first = runs.claim("check_health", NOON, "a:1")
    assert first is not None
    runs.interrupt(first)
    second = runs.claim("check_health", NOON, "b:2")
    assert second is not None

    runs.succeed(first, "late")
    assert [run.id for run in runs.running()] == [second]
    runs.succeed(second, "4 checked")

    assert [(run.outcome, run.summary) for run in runs.latest()] == [(Outcome.SUCCEEDED, "4 checked")]


def test_a_run_that_has_ended_cannot_be_interrupted(database: Database, clock: FakeClock) -> None:
    runs = JobRuns(database, clock)
    run = runs.claim("check_health", NOON, "a:1")
    assert run is not None
    runs.fail(run, "the disk is full")

    runs.interrupt(run)

    assert [run.error for run in runs.latest()] == ["the disk is full"]
    assert runs.claim("check_health", NOON, "b:2") is None
    assert runs.running() == []
