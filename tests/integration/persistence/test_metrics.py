"""Windows of metrics are kept once each and read by range."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck as HypothesisCheck
from hypothesis import given, settings
from hypothesis import strategies as st

from core.model.metric_window import MetricWindow
from core.persistence.database import Database
from core.persistence.metrics import MetricsStore
from core.persistence.tables import integration_metrics
from tests.fakes import NOON

_FIVE_MINUTES = timedelta(minutes=5)


def _window(start: datetime = NOON, integration: str = "address", minutes: int = 5) -> MetricWindow:
    return MetricWindow(
        integration_name=integration,
        operation="search",
        window_minutes=minutes,
        window_start=start,
        total_calls=10,
        successful_calls=9,
        failed_calls=1,
        cached_calls=2,
        stale_calls=0,
        mock_calls=0,
        timeouts=1,
        retries=3,
        circuit_openings=0,
        rate_limited_calls=0,
        sum_ms=420.5,
        max_ms=99.0,
        p50_ms=41.0,
        p95_ms=98.0,
        p99_ms=None,
        latency_histogram=b"\x00\x01\xff",
        updated_at=NOON,
    )


def test_a_window_comes_back_as_it_was_written(database: Database) -> None:
    store = MetricsStore(database)

    store.upsert([_window()])

    assert store.between(NOON, NOON + _FIVE_MINUTES) == [_window()]


@pytest.mark.fault("AG-03")
def test_writing_a_window_again_takes_the_place_of_the_first(database: Database) -> None:
    store = MetricsStore(database)
    store.upsert([_window(), _window(integration="sms")])

    grown = replace(_window(), total_calls=11, p99_ms=99.0, latency_histogram=b"grown")
    store.upsert([grown])

    assert store.between(NOON, NOON + _FIVE_MINUTES) == [grown, _window(integration="sms")]


def test_writing_no_window_is_allowed(database: Database) -> None:
    MetricsStore(database).upsert([])

    assert MetricsStore(database).newest_start() is None


# One fixture serves all examples: each example empties or replaces what it reads.
@settings(suppress_health_check=[HypothesisCheck.function_scoped_fixture], max_examples=30)
@given(starts=st.sets(st.integers(0, 40)), first=st.integers(0, 40), last=st.integers(0, 40))
def test_a_range_holds_the_windows_that_start_in_it(
    sqlite_database: Database, starts: set[int], first: int, last: int
) -> None:
    with sqlite_database.writing() as connection:
        connection.execute(integration_metrics.delete())
    store = MetricsStore(sqlite_database)
    store.upsert([_window(NOON + n * _FIVE_MINUTES) for n in starts])

    found = store.between(NOON + first * _FIVE_MINUTES, NOON + last * _FIVE_MINUTES)

    expected = [NOON + n * _FIVE_MINUTES for n in sorted(starts) if first <= n < last]
    assert [window.window_start for window in found] == expected


def test_windows_of_one_integration_and_of_one_length_can_be_asked_for(database: Database) -> None:
    store = MetricsStore(database)
    hour = _window(minutes=60)
    store.upsert([_window(), _window(integration="sms"), hour])

    assert store.between(NOON, NOON + _FIVE_MINUTES, "sms") == [_window(integration="sms")]
    assert store.between(NOON, NOON + _FIVE_MINUTES, window_minutes=60) == [hour]


def test_the_newest_start_is_known_for_each_length(database: Database) -> None:
    store = MetricsStore(database)
    store.upsert([_window(), _window(NOON + _FIVE_MINUTES), _window(NOON - timedelta(hours=1), minutes=60)])

    assert store.newest_start() == NOON + _FIVE_MINUTES
    assert store.newest_start(60) == NOON - timedelta(hours=1)
    assert store.newest_start(1440) is None
