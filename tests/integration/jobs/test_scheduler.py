"""The schedule over hours that pass at once: every integration is checked every interval, whatever a slow one does."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.config.environment import load
from core.hub import Hub
from core.integrations.base import ProviderCheck
from core.model.call_record import Attempt
from core.model.verdict import Verdict
from core.policies.admission import AdmissionPolicy
from core.policies.policy import CallPolicy
from core.policies.retry import RetryPolicy
from jobs.__main__ import scheduler
from jobs.run_recorded import InFlight
from jobs.schedule import JOBS, last_due
from tests.fakes import FakeChance, FakeClock
from tests.waiting import until

FIVE = timedelta(minutes=5)
MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
QUICK = ("fax", "post", "pager")


@dataclass
class Ward:
    """When which integration was checked, and which checks are still waiting for their answer."""

    clock: FakeClock
    times: dict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    waiting: list[tuple[datetime, threading.Event]] = field(default_factory=list)

    def check(self, name: str, seconds: float) -> None:
        """Begin a check that is answered when so much time has passed."""
        self.times[name].append(self.clock.now())
        if seconds:
            answered = threading.Event()
            self.waiting.append((self.clock.now() + timedelta(seconds=seconds), answered))
            assert answered.wait(60)

    def answer(self) -> None:
        """Answer the checks whose time is over."""
        for entry in [entry for entry in self.waiting if entry[0] <= self.clock.now()]:
            self.waiting.remove(entry)
            entry[1].set()


@dataclass
class Patient:
    """An integration that answers after so many seconds."""

    name: str
    ward: Ward
    seconds: float = 0.0
    policy: CallPolicy = field(
        default_factory=lambda: CallPolicy(1, 5, RetryPolicy(), AdmissionPolicy(), None)
    )
    is_enabled: bool = True

    @property
    def circuits(self) -> dict[str, str]:
        return {"only": f"{self.name}.only"}

    def health_check(self) -> tuple[ProviderCheck, ...]:
        self.ward.check(self.name, self.seconds)
        return (ProviderCheck("only", Attempt("only", 1, 0.0, 12.0, Verdict.OK)),)


class Player:
    """Does on a fake clock what the scheduler's own loop does: each due job in a thread, up to its `max_instances`."""

    def __init__(self, made: BackgroundScheduler, ward: Ward) -> None:
        self._jobs = {job.id: job for job in made.get_jobs()}
        self._due = {name: job.next_run_time for name, job in self._jobs.items()}
        self._threads: dict[str, list[threading.Thread]] = {name: [] for name in self._jobs}
        self._ward = ward
        self._fired = 0

    def play(self, end: datetime) -> None:
        """Let the time until `end` pass, and then what is still under way come to its end."""
        while (at := min([*self._due.values(), *self._answers()])) < end:
            self._pass_until(at)
            for name in [name for name, due in self._due.items() if due <= at]:
                self._fire(name, at)
        while self._ward.waiting:
            self._pass_until(min(self._answers()))

    def _answers(self) -> list[datetime]:
        return [at for at, _ in self._ward.waiting]

    def _pass_until(self, at: datetime) -> None:
        self._ward.clock.advance((at - self._ward.clock.now()).total_seconds())
        self._ward.answer()
        until(self._is_quiet, what="the end of the checks that were answered")

    def _fire(self, name: str, at: datetime) -> None:
        job = self._jobs[name]
        self._due[name] = job.trigger.get_next_fire_time(at, at)
        if len(self._alive(name)) < job.max_instances:
            thread = threading.Thread(target=job.func, args=job.args)
            self._threads[name].append(thread)
            self._fired += name == "check_health"
            thread.start()
        until(self._is_quiet, what="every check being answered, or waiting for its answer")

    def _alive(self, name: str) -> list[threading.Thread]:
        self._threads[name] = [thread for thread in self._threads[name] if thread.is_alive()]
        return self._threads[name]

    def _is_quiet(self) -> bool:
        """Whether all that can happen at this time has happened."""
        have_begun = all(len(times) == self._fired for times in self._ward.times.values())
        return (
            have_begun
            and not self._alive("aggregate_metrics")
            and len(self._alive("check_health")) == len(self._ward.waiting)
        )


@pytest.mark.property(39)
@settings(max_examples=6)
@given(
    start=st.timedeltas(timedelta(), timedelta(days=1)).map(lambda into: MIDNIGHT + into),
    hours=st.integers(1, 2),
    seconds=st.floats(0, 600),
)
@example(start=MIDNIGHT + timedelta(minutes=4, seconds=59), hours=1, seconds=299)
def test_every_integration_is_checked_every_interval_though_one_check_is_slow(
    tmp_path_factory: pytest.TempPathFactory, start: datetime, hours: int, seconds: float
) -> None:
    """From a start at any time on: at once, and then on the very moment of each five minutes.

    One of them takes up to ten minutes to answer, the longest that two providers can take by any setting.
    """
    clock = FakeClock(start)
    ward = Ward(clock)
    environ = {
        "BONGSU_DATA_DIR": str(tmp_path_factory.mktemp("data")),
        "BONGSU_DEMO": "false",
        "BONGSU_ADDRESS_IS_ENABLED": "false",
    }
    end = last_due(start, FIVE) + timedelta(hours=hours)
    with Hub.build(load(environ), clock, FakeChance()) as hub:
        for name in QUICK:
            hub.health.register_integration(Patient(name, ward))
        hub.health.register_integration(Patient("slow", ward, seconds))

        made = scheduler(hub, InFlight())
        made.start(paused=True)
        Player(made, ward).play(end)
        made.shutdown()

        slots = [last_due(start, FIVE) + number * FIVE for number in range(hours * 12)]
        assert dict(ward.times) == {name: [start, *slots[1:]] for name in (*QUICK, "slow")}
        for job in JOBS:
            runs = [run for run in hub.job_runs(10_000) if run.job == job.name]
            assert sorted(run.scheduled_for for run in runs) == slots
            assert {run.outcome for run in runs} == {"succeeded"}
        for name in (*QUICK, "slow"):
            assert len(hub.health_history(name, 10_000)) == len(slots)


def test_the_real_scheduler_has_each_job_once_and_at_once(hub: Hub) -> None:
    made = scheduler(hub, InFlight())

    assert {job.id: job.next_run_time for job in made.get_jobs()} == {
        "check_health": hub.clock.now(),
        "aggregate_metrics": hub.clock.now(),
    }
