"""`python -m jobs`: runs the schedule, and the demo traffic in dev, until it is told to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
from datetime import datetime, timedelta
from typing import Final

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from core.clock import system_chance
from core.command import lifeline
from core.errors import BongsuError, SettingsRefused
from core.hub import Hub, connect
from core.telemetry.logs import configure, set_levels
from jobs.demo import keep_quiet, run_demo
from jobs.run_recorded import InFlight, end_interrupted, give_up_own, run_recorded
from jobs.schedule import JOBS, Job, last_due, next_due

log = structlog.get_logger()

_PATIENCE_S: Final = 5.0
"""How long a wish to stop waits for runs to end by themselves: well within what `bongsu up` allows before it kills."""

_AT_THE_SAME_TIME: Final = 3
"""How many runs of one job there may be. One slow check may take ten minutes; the others are due all the same."""


class WhenDue(BaseTrigger):  # type: ignore[misc]  # APScheduler ships no types.
    """Fires at each time at which a job is due."""

    def __init__(self, every: timedelta) -> None:
        self._every = every

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        return next_due(now, self._every)


def run_due(hub: Hub, job: Job, in_flight: InFlight) -> None:
    """Run `job` for the time at which it was due last, unless that run was had already."""
    with in_flight as may_begin:
        if may_begin:
            run_recorded(hub, job, last_due(hub.clock.now(), job.every))


def scheduler(hub: Hub, in_flight: InFlight) -> BackgroundScheduler:
    """A scheduler with every job of the schedule, each also due at once."""
    made = BackgroundScheduler(
        executors={"default": ThreadPoolExecutor(len(JOBS) * _AT_THE_SAME_TIME)},
        # A run that comes late is still wanted, once: the default would drop it after a second.
        job_defaults={
            "misfire_grace_time": None,
            "coalesce": True,
            "max_instances": _AT_THE_SAME_TIME,
        },
        timezone="UTC",
    )
    for job in JOBS:
        made.add_job(
            run_due,
            WhenDue(job.every),
            (hub, job, in_flight),
            id=job.name,
            next_run_time=hub.clock.now(),
        )
    return made


def main() -> int:
    """Run until SIGINT or SIGTERM, and then a few seconds at the most.

    The exit code is 2 when the settings are malformed, and 1 when the storage cannot be used.
    """
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    lifeline.hold(stopping.set)
    try:
        hub = connect()
    except SettingsRefused as refused:
        print(refused, file=sys.stderr)  # noqa: T201 -- before the log can be configured.
        return 2
    except BongsuError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- as above.
        return 1
    with hub:
        configure(hub.settings.log_level, hub.settings.log_format, hub.redactor)
        set_levels(hub.configs.values())
        end_interrupted(hub, JOBS)
        in_flight = InFlight()
        running = scheduler(hub, in_flight)
        running.start()
        log.info("jobs_started", jobs=[job.name for job in JOBS])
        if hub.settings.has_demo_traffic:
            keep_quiet(hub.integrations)
            threading.Thread(
                target=run_demo, args=(hub, system_chance, stopping), name="demo", daemon=True
            ).start()
        stopping.wait()
        running.shutdown(wait=False)
        is_idle = in_flight.end(_PATIENCE_S)
        if not is_idle:
            give_up_own(hub)
        log.info("jobs_stopped")
    if not is_idle:
        # Python would wait for the threads of those runs, and they may wait for a provider that hangs.
        os._exit(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
