"""A run whose process is gone is ended, and had once more; a wish to stop is met in time, whatever a provider does."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from core.clock import SystemClock
from core.config.environment import load
from core.hub import Hub
from core.model.job_run import JobRun
from core.settings import environment_for_child
from jobs.run_recorded import InFlight, end_interrupted, run_recorded
from jobs.schedule import Job
from tests.fakes import NOON, FakeClock
from tests.simulators.juso import KEY, JusoSimulator
from tests.waiting import until

HOST = socket.gethostname()[:40]
FIVE = timedelta(minutes=5)
JOB = Job("work", FIVE, lambda _: "done")


def a_process_that_is_gone() -> int:
    """The number of a process that has ended just now."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_a_run_of_a_process_that_is_gone_is_ended_and_had_once_more(hub: Hub) -> None:
    hub.job_run_store.claim(JOB.name, NOON, f"{HOST}:{a_process_that_is_gone()}")
    assert not run_recorded(hub, JOB, NOON)

    assert end_interrupted(hub, [JOB]) == 1
    assert [(run.outcome, run.error) for run in hub.job_runs()] == [("failed", "interrupted")]
    assert run_recorded(hub, JOB, NOON)

    assert [(run.outcome, run.summary) for run in hub.job_runs()] == [("succeeded", "done")]


def test_a_run_of_a_living_process_or_of_another_machine_is_left_alone_until_three_periods_are_over(
    hub: Hub, clock: FakeClock
) -> None:
    living = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        hub.job_run_store.claim(JOB.name, NOON, f"{HOST}:{living.pid}")
        hub.job_run_store.claim(JOB.name, NOON + FIVE, f"elsewhere:{a_process_that_is_gone()}")
        clock.advance(3 * FIVE.total_seconds())
        assert end_interrupted(hub, [JOB]) == 0

        clock.advance(1)
        assert end_interrupted(hub, [JOB]) == 2
    finally:
        living.communicate(b"\n")


def test_a_run_of_a_job_that_is_scheduled_no_more_is_left_to_its_process(hub: Hub, clock: FakeClock) -> None:
    """Nobody knows its period; but nobody has it when its process is gone."""
    hub.job_run_store.claim("retired", NOON, "elsewhere:1")
    hub.job_run_store.claim("retired", NOON + FIVE, f"{HOST}:{a_process_that_is_gone()}")
    clock.advance(86_400)

    assert end_interrupted(hub, [JOB]) == 1
    assert [run.worker for run in hub.job_run_store.running()] == ["elsewhere:1"]


def test_once_the_end_has_come_no_run_may_begin() -> None:
    in_flight = InFlight()
    with in_flight as may_begin:
        assert may_begin
        assert not in_flight.end(0)

    assert in_flight.end(0)
    with in_flight as may_begin:
        assert not may_begin


@contextmanager
def jobs_process(environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m jobs`, killed at the end if it still runs."""
    process = subprocess.Popen([sys.executable, "-m", "jobs"], env=environment_for_child(**environ))
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_ends_during_a_slow_check_leaves_the_run_to_the_next(
    tmp_path: Path, number: signal.Signals
) -> None:
    """SIGTERM ends it within what the supervisor allows; what it or a kill leaves undone is done after a restart."""
    with JusoSimulator() as juso:
        environ = {
            "BONGSU_DATA_DIR": str(tmp_path),
            "BONGSU_JUSO_BASE_URL": juso.url,
            "BONGSU_JUSO_API_KEY": KEY,
            "BONGSU_ADDRESS_TIMEOUT_SECONDS": "60",
            "BONGSU_DEMO": "false",
        }
        with Hub.build(load(environ)) as hub:

            def health_runs() -> list[JobRun]:
                return [run for run in hub.job_runs() if run.job == "check_health"]

            juso.delay(100)
            with jobs_process(environ) as process:
                until(lambda: bool(juso.requests), within=30, what="a check on its way")
                asked = SystemClock().monotonic()
                process.send_signal(number)
                code = process.wait(timeout=15)
                assert SystemClock().monotonic() - asked < 12
            [cut_short] = health_runs()
            if number is signal.SIGTERM:
                assert code == 0
                assert (cut_short.outcome, cut_short.error) == ("failed", "interrupted")

            juso.recover()
            with jobs_process(environ):
                until(lambda: "succeeded" in {run.outcome for run in health_runs()}, within=30, what="a run")
            # Five minutes may have ended meanwhile; then the next due time was had instead.
            done = [run for run in health_runs() if run.outcome == "succeeded"]
            assert done[-1].scheduled_for - cut_short.scheduled_for in {timedelta(0), FIVE}
