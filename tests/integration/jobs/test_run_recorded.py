"""Each run of a job is on record, and no due time is run twice."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from core.hub import Hub
from jobs.run_recorded import run_recorded
from jobs.schedule import JOBS, Job
from tests.fakes import NOON
from tests.integration.conftest import HubBuilder

DUE = NOON


def job(run: str | Exception) -> Job:
    def work(_: Hub) -> str:
        if isinstance(run, Exception):
            raise run
        return run

    return Job("work", timedelta(minutes=5), work)


def test_a_run_is_recorded_with_its_times_and_what_it_did(hub: Hub) -> None:
    assert run_recorded(hub, job("did three things"), DUE)

    [run] = hub.job_runs()
    assert (run.job, run.scheduled_for, run.outcome, run.summary) == (
        "work",
        DUE,
        "succeeded",
        "did three things",
    )
    assert run.ended_at is not None
    assert run.started_at <= run.ended_at


def test_a_run_that_fails_is_recorded_with_its_error(hub: Hub) -> None:
    assert run_recorded(hub, job(RuntimeError("the disk is full")), DUE)

    [run] = hub.job_runs()
    assert (run.outcome, run.error) == ("failed", "RuntimeError: the disk is full")


def test_an_error_on_record_holds_no_secret(build_hub: HubBuilder) -> None:
    hub = build_hub(juso_api_key="s3cret-confirm-key")

    run_recorded(hub, job(RuntimeError("refused: confmKey=s3cret-confirm-key")), DUE)

    assert "s3cret" not in str(hub.job_runs()[0].error)


@pytest.mark.fault("SC-01")
def test_a_due_time_is_run_once_however_many_processes_try(build_hub: HubBuilder) -> None:
    first, second = build_hub(), build_hub()

    ran = [run_recorded(hub, job("done"), DUE) for hub in (first, second, first)]

    assert ran == [True, False, False]
    assert len(first.job_runs()) == 1


@pytest.mark.parametrize("due", [NOON, NOON + timedelta(minutes=5)])
def test_every_job_of_the_schedule_runs_on_an_empty_database(hub: Hub, due: datetime) -> None:
    for scheduled in JOBS:
        assert run_recorded(hub, scheduled, due)

    assert {run.outcome for run in hub.job_runs()} == {"succeeded"}
