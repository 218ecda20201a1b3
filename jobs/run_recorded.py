"""One run of one job: at most once per due time over all processes, and on record however it ends."""

from __future__ import annotations

import os
import socket
from datetime import datetime
from typing import Final

import structlog

from core.hub import Hub
from core.model.identity import new_trace_id, tracing
from jobs.schedule import Job

log = structlog.get_logger()
WORKER: Final = f"{socket.gethostname()[:40]}:{os.getpid()}"


def run_recorded(hub: Hub, job: Job, due: datetime) -> bool:
    """Run `job` for the time at which it was due. False when another process has that run.

    Whatever the job raises is kept with the run and logged; it never stops the jobs that come after it.
    """
    run = hub.job_run_store.claim(job.name, due, WORKER)
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
