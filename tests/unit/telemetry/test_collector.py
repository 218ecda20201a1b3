"""The collector: one line and one row a call, and windows that may be made again and again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.model.call_record import CallRecord, EndedCall
from core.telemetry.collector import MetricsCollector
from core.telemetry.lines import tell
from core.telemetry.recorder import Recorder
from tests.builders import Ended, call_record
from tests.call_rows import OF_OUR_OWN, CallPages, Windows, records, row
from tests.fakes import NOON, FakeClock
from tests.log_lines import integration_lines

LATER = timedelta(minutes=5)


class Shelf:
    """Keeps the calls that are put."""

    def __init__(self) -> None:
        self.ended: list[EndedCall] = []

    def put(self, ended: EndedCall) -> None:
        self.ended.append(ended)


def collector(
    *, calls: CallPages | None = None, windows: Windows | None = None, now: datetime = NOON
) -> tuple[MetricsCollector, Shelf]:
    shelf = Shelf()
    made = MetricsCollector(
        shelf, reader=calls or CallPages(), writer=windows or Windows(), clock=FakeClock(now)
    )
    return made, shelf


class Untouchable:
    """A call that must not be looked at yet."""

    @property
    def held_bytes(self) -> int:
        raise AssertionError("It was measured.")

    def record(self) -> CallRecord:
        raise AssertionError("A record was made.")


def test_a_call_is_handed_over_untouched() -> None:
    """Whoever makes a call waits neither for its record nor for its line; both names hand over alike."""
    made, shelf = collector()
    ended = Untouchable()

    made.record(ended)
    made.record_call_log(ended)

    assert shelf.ended == [ended, ended]


@pytest.mark.property(1)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(records(), max_size=20))
def test_each_call_however_it_ends_leaves_one_row_and_one_line(calls: list[CallRecord]) -> None:
    """What is told comes through the recorder once each, with provider, endpoint, duration and outcome."""
    stored: list[CallRecord] = []
    recorder = Recorder(stored.extend, FakeClock(), tell=tell)
    told_of = MetricsCollector(recorder, reader=CallPages(), writer=Windows(), clock=FakeClock())

    with integration_lines() as lines:
        for call in calls:
            told_of.record(Ended(call))
        recorder.close()

    assert stored == calls
    assert sum(line.getMessage().startswith("call.") for line in lines) == len(calls)
    assert [vars(line)["duration_ms"] for line in lines if line.getMessage().startswith("call.")] == [
        round(call.duration_ms, 1) for call in calls
    ]


@pytest.mark.property(29)
@given(st.lists(records(), max_size=20))
def test_each_call_that_the_limiter_touched_is_told_and_counted(calls: list[CallRecord]) -> None:
    """Held back or refused: a line of its own, and one in the window's count."""
    windows = Windows()
    touched = [call for call in calls if call.is_rate_limited or call.limiter_wait_ms > 0]
    refused = [call for call in touched if call.error_type == "RateLimited"]
    recorder = Recorder(_forget, FakeClock(), tell=tell)
    rows = CallPages([row(call) for call in calls])
    made = MetricsCollector(recorder, reader=rows, writer=windows, clock=FakeClock())

    with integration_lines() as lines:
        for call in calls:
            made.record(Ended(call))
        recorder.close()
    made.aggregate_metrics(NOON, since=NOON - timedelta(hours=1))
    made.aggregate_metrics(NOON + timedelta(hours=1), since=NOON - timedelta(hours=1))

    events = [line.getMessage() for line in lines]
    assert events.count("limiter.refused") == len(refused)
    assert events.count("limiter.held_back") == len(touched) - len(refused)
    assert sum(window.rate_limited_calls for window in windows.kept.values()) == len(touched)


def _forget(_records: Sequence[CallRecord]) -> None:
    """A sink that keeps nothing."""


@pytest.mark.property(2)
@pytest.mark.fault("AG-03")
@given(st.lists(records(), max_size=40), st.integers(1, 5))
def test_aggregating_again_changes_nothing(calls: list[CallRecord], times: int) -> None:
    """However often it runs, and also after it stopped half-way, the windows hold what the rows say."""
    windows, once = Windows(), Windows()
    rows = CallPages([row(call) for call in calls])
    after = NOON + timedelta(minutes=31)
    collector(calls=rows, windows=once)[0].aggregate_metrics(after)
    windows.upsert(list(once.kept.values())[::2])

    for _ in range(times):
        collector(calls=rows, windows=windows)[0].aggregate_metrics(after, since=NOON - timedelta(hours=1))

    assert windows.kept == once.kept
    assert sum(window.total_calls for window in windows.kept.values()) == sum(
        call.error_type not in OF_OUR_OWN for call in calls
    )


def test_the_last_three_windows_are_counted_anew() -> None:
    """The window in progress and the two before it, and no more, once aggregation keeps up."""
    calls, windows = CallPages([row(call_record())]), Windows()
    made, _ = collector(calls=calls, windows=windows)
    made.aggregate_metrics(NOON + timedelta(minutes=2))

    made.aggregate_metrics(NOON + timedelta(minutes=4))

    assert calls.asked[-1] == (NOON - 2 * LATER, NOON + LATER)


@pytest.mark.fault("AG-04")
def test_a_late_row_is_counted_when_its_window_is_worked_on_again() -> None:
    calls, windows = CallPages([row(call_record())]), Windows()
    made, _ = collector(calls=calls, windows=windows)
    made.aggregate_metrics(NOON + timedelta(minutes=6))

    calls.rows.append(row(call_record(created_at=NOON + timedelta(minutes=1))))
    made.aggregate_metrics(NOON + timedelta(minutes=11))

    assert [window.total_calls for window in windows.kept.values()] == [2]


def test_after_a_pause_everything_since_the_newest_window_is_made_up_for() -> None:
    """A process that was away for three hours leaves no gap."""
    calls, windows = CallPages([row(call_record())]), Windows()
    made, _ = collector(calls=calls, windows=windows)
    made.aggregate_metrics(NOON)
    calls.rows += [row(call_record(created_at=NOON + each * LATER)) for each in range(1, 36)]

    assert made.aggregate_metrics(NOON + timedelta(hours=3)) == 36
    assert len(windows.kept) == 36


def test_not_more_than_a_day_is_made_up_for() -> None:
    """At first, or after a long absence, 24 hours are aggregated; more when it is asked for by name."""
    rows = [row(call_record(created_at=NOON - timedelta(hours=hours))) for hours in (0, 23, 25)]
    made, _ = collector(calls=CallPages(rows))

    assert made.aggregate_metrics(NOON) == 2
    assert made.aggregate_metrics(NOON, since=NOON - timedelta(hours=26)) == 3


@pytest.mark.fault("AG-05")
def test_a_clock_that_is_set_back_skips_no_window() -> None:
    """Calls that were made by the faster clock are counted still, and those made again after it too."""
    ahead = NOON + timedelta(hours=1)
    calls, windows = CallPages([row(call_record(created_at=ahead))]), Windows()
    made, _ = collector(calls=calls, windows=windows)
    made.aggregate_metrics(ahead)
    calls.rows += [
        row(call_record(created_at=NOON)),
        row(call_record(created_at=ahead + timedelta(minutes=1))),
    ]

    made.aggregate_metrics(NOON)

    assert {start: window.total_calls for (_, _, _, start), window in windows.kept.items()} == {
        NOON: 1,
        ahead: 2,
    }


def test_rows_are_read_page_by_page() -> None:
    """More rows than a page holds are all counted, once each; after a page that is not full none is asked for."""
    windows = Windows()
    calls = CallPages([row(call_record(id=number + 1)) for number in range(10_001)])
    made, _ = collector(calls=calls, windows=windows)

    made.aggregate_metrics(NOON)

    assert [window.total_calls for window in windows.kept.values()] == [10_001]
    assert calls.pages == 2


def test_a_full_page_may_be_the_last() -> None:
    windows = Windows()
    calls = CallPages([row(call_record(id=number + 1)) for number in range(10_000)])
    made, _ = collector(calls=calls, windows=windows)

    made.aggregate_metrics(NOON)

    assert [window.total_calls for window in windows.kept.values()] == [10_000]


def test_the_time_is_asked_of_the_clock_when_none_is_given() -> None:
    made, _ = collector(calls=CallPages([row(call_record())]), now=NOON)

    assert made.aggregate_metrics() == 1


def test_percentiles_are_those_of_all_windows_together() -> None:
    windows = Windows()
    calls = CallPages(
        [row(call_record(duration_ms=float(each), created_at=NOON + each * LATER)) for each in range(3)]
    )
    made, _ = collector(calls=calls, windows=windows)
    made.aggregate_metrics(NOON + 2 * LATER)

    found = made.calculate_percentiles(windows.kept.values())

    assert found.p50 == pytest.approx(1.0, rel=0.01)
    assert found.max == 2.0
