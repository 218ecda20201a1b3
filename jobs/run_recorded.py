"""One run of one job: at most once per due time over all processes, and on record however it ends."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterable
from datetime import datetime
from typing import Final

import structlog

from core.hub import Hub
from core.model.identity import new_trace_id, tracing
from core.model.job_run import JobRun
from jobs.schedule import Job

log = structlog.get_logger()

_HOST: Final = socket.gethostname()[:40]
_PERIODS_OF_A_RUN: Final = 3
"""A run that is older than so many periods of its job has ended, whatever became of its worker."""


def worker() -> str:
    """This process, as runs name it: host and process number."""
    return f"{_HOST}:{os.getpid()}"


class InFlight:
    """Counts the runs that are being had in this process, and knows when no more may begin."""

    def __init__(self) -> None:
        self._count = 0
        self._ended = False
        self._changed = threading.Condition()

    def __enter__(self) -> bool:
        """Count one more run; False when it must not begin, because the process is about to end."""
        with self._changed:
            self._count += 1
            return not self._ended

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def end(self, patience_s: float) -> bool:
        """Let no more runs begin, and wait for those that have. Whether all ended within `patience_s` seconds."""
        with self._changed:
            self._ended = True
            return self._changed.wait_for(lambda: self._count == 0, patience_s)


def run_recorded(hub: Hub, job: Job, due: datetime) -> bool:
    """Run `job` for the time at which it was due. False when another process has that run.

    Whatever the job raises is kept with the run and logged; it never stops the jobs that come after it.
    """
    run = hub.job_run_store.claim(job.name, due, worker())
    if run is None:
        return False
    with tracing(new_trace_id()):
        try:
            summary = job.run(hub)
        except Exception as error:
            log.exception("job_failed", job=job.name, due=due.isoformat())
            hub.job_run_store.fail(run, hub.redactor.text(f"{type(error).__name__}: {error}"))
        else:
            hub.job_run_store.succeed(run, summary)
            log.info("job_done", job=job.name, summary=summary)
    return True


def end_interrupted(hub: Hub, jobs: Iterable[Job]) -> int:
    """End the runs that nobody has any more, so that what is still due can be had once more. How many there were.

    For a process that begins, and has no runs yet. A run is nobody's when its worker was a process of this machine
    that is gone, or when it began more than three periods ago.
    """
    periods = {job.name: job.every for job in jobs}
    now = hub.clock.now()

    def is_nobodys(run: JobRun) -> bool:
        every = periods.get(run.job)
        is_old = every is not None and now - run.started_at > _PERIODS_OF_A_RUN * every
        return is_old or _is_gone(run.worker)

    return _interrupt(hub, [run for run in hub.job_run_store.running() if is_nobodys(run)])


def give_up_own(hub: Hub) -> int:
    """End the runs that this process still has, because it ends before them. How many there were."""
    return _interrupt(hub, [run for run in hub.job_run_store.running() if run.worker == worker()])


def _interrupt(hub: Hub, runs: list[JobRun]) -> int:
    for run in runs:
        hub.job_run_store.interrupt(run.id)
        log.warning("job_interrupted", job=run.job, due=run.scheduled_for.isoformat(), worker=run.worker)
    return len(runs)


def _is_gone(name: str) -> bool:
    """Whether that worker was a process of this machine that is there no more.

    This process counts as gone: it has no runs yet, so a run under its number is from an earlier life.
    """
    host, _, number = name.rpartition(":")
    if host != _HOST or not number.isdigit():
        return False
    if int(number) == os.getpid():
        return True
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it lives, and is another user's.
        return False
    return False
