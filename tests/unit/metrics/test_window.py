"""Windows: which one a call falls into, and what of it counts."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from core.metrics.histogram import LatencyHistogram
from core.metrics.window import aggregate, floor
from core.model.answer import Source
from core.model.call_row import CallRow
from core.model.metric_window import MetricWindow
from tests.builders import attempt, call_record, failed_call
from tests.call_rows import row
from tests.fakes import NOON


def window_of(*rows: CallRow) -> MetricWindow:
    (window,) = aggregate(rows, updated_at=NOON)
    return window


def test_a_window_starts_at_whole_five_minutes_of_utc() -> None:
    assert floor(datetime(2026, 3, 2, 12, 4, 59, 999_999, UTC)) == NOON
    assert floor(NOON) == NOON
    assert floor(datetime(1969, 12, 31, 23, 59, tzinfo=UTC)) == datetime(1969, 12, 31, 23, 55, tzinfo=UTC)


@pytest.mark.fault("AG-02")
@pytest.mark.parametrize("zone", ["Asia/Seoul", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe"])
def test_the_window_is_the_same_in_every_zone(zone: str) -> None:
    """A time is in one window whatever zone it is written in, on days of 23 and 25 hours too."""
    for day in (datetime(2026, 3, 8, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC), NOON):
        for minutes in range(0, 24 * 60, 7):
            at = day + timedelta(minutes=minutes)
            assert floor(at.astimezone(ZoneInfo(zone))) == floor(at)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(TypeError, match="offset-naive"):
        floor(NOON.replace(tzinfo=None))


def test_no_rows_make_no_windows() -> None:
    assert aggregate([], updated_at=NOON) == []


@pytest.mark.fault("AG-07")
def test_one_failed_call_makes_a_whole_window() -> None:
    """A window in which everything failed has defined figures throughout."""
    window = window_of(row(failed_call(duration_ms=30_000.0)))

    assert (window.total_calls, window.successful_calls, window.failed_calls) == (1, 0, 1)
    assert window.timeouts == 1
    assert (window.p50_ms, window.p95_ms, window.p99_ms, window.max_ms) == (30_000.0,) * 4


@pytest.mark.fault("AG-07")
@pytest.mark.parametrize("duration", [math.nan, math.inf, -1.0])
def test_a_call_without_a_proper_duration_still_counts(duration: float) -> None:
    """A duration that is no number is left out of the latency figures; the call is not."""
    window = window_of(row(call_record(duration_ms=duration)))
    both = window_of(row(call_record(duration_ms=duration)), row(call_record(duration_ms=10.0)))

    assert (window.total_calls, window.sum_ms, window.max_ms, window.p50_ms) == (1, 0.0, 0.0, None)
    assert (both.total_calls, both.sum_ms, both.max_ms, both.p50_ms) == (2, 10.0, 10.0, 10.0)


@pytest.mark.parametrize(
    "error",
    ["InvalidRequest", "NotConfigured", "IntegrationDisabled", "DeadlineExceeded", "KeyboardInterrupt"],
)
def test_what_ended_for_reasons_of_our_own_counts_nowhere(error: str) -> None:
    """It says nothing about the third party."""
    mistake = row(failed_call(error_type=error))

    assert aggregate([mistake], updated_at=NOON) == []
    assert window_of(mistake, row(call_record())).total_calls == 1


def test_the_record_alone_says_whether_a_call_succeeded() -> None:
    """A stale answer that stands in for an error is a success, and the timeout behind it is counted too."""
    window = window_of(row(call_record(source=Source.STALE, error_type="AttemptTimedOut")))

    assert (window.successful_calls, window.failed_calls, window.stale_calls) == (1, 0, 1)
    assert (window.cached_calls, window.timeouts) == (0, 1)


def test_each_event_has_a_count_of_its_own() -> None:
    window = window_of(
        row(call_record(source=Source.CACHE)),
        row(call_record(source=Source.MOCK, is_mock=True)),
        row(call_record(attempts=(attempt(), attempt(), attempt()))),
        row(failed_call(error_type="AttemptTimedOut", circuit_opened=True)),
        row(failed_call(error_type="RateLimited", is_rate_limited=True)),
        row(call_record(limiter_wait_ms=250.0)),
    )

    assert (window.total_calls, window.cached_calls, window.mock_calls) == (5, 1, 1)
    assert (window.retries, window.circuit_openings, window.timeouts) == (2, 1, 1)
    assert window.rate_limited_calls == 2


def test_windows_come_oldest_first_and_are_kept_apart() -> None:
    """Integration, operation and time each make a window of their own."""
    windows = aggregate(
        [
            row(call_record(created_at=NOON)),
            row(call_record(created_at=NOON - timedelta(microseconds=1))),
            row(call_record(created_at=NOON, operation="lookup")),
            row(call_record(created_at=NOON, integration="email")),
        ],
        updated_at=NOON,
    )

    assert [(window.window_start, window.integration_name, window.operation) for window in windows] == [
        (NOON - timedelta(minutes=5), "address", "search"),
        (NOON, "address", "lookup"),
        (NOON, "address", "search"),
        (NOON, "email", "search"),
    ]


def test_the_kept_histogram_holds_the_durations_of_its_window_alone() -> None:
    first, second = aggregate(
        [
            row(call_record(duration_ms=10.0)),
            row(call_record(duration_ms=900.0, integration="email")),
            row(call_record(duration_ms=30.0)),
        ],
        updated_at=NOON,
    )

    assert LatencyHistogram.unpack(first.latency_histogram).longest == 30.0
    assert LatencyHistogram.unpack(second.latency_histogram).shortest == 900.0


def test_windows_may_be_of_another_length() -> None:
    (hour,) = aggregate([row(call_record(created_at=NOON + timedelta(minutes=59)))], 60, updated_at=NOON)

    assert (hour.window_start, hour.window_minutes) == (NOON, 60)
