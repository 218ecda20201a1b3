"""Totals: windows added up, and their percentiles merged."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from core.metrics.totals import percentiles, totals
from core.metrics.window import aggregate
from core.model.call_row import CallRow
from core.model.metric_window import MetricWindow
from tests.builders import call_record, failed_call
from tests.call_rows import row
from tests.fakes import NOON


def calls(durations: list[float], minutes: int = 0) -> list[CallRow]:
    at = NOON + timedelta(minutes=minutes)
    return [row(call_record(created_at=at, duration_ms=duration)) for duration in durations]


def windows(*rows: CallRow) -> list[MetricWindow]:
    return aggregate(rows, updated_at=NOON)


def test_no_windows_have_no_rates_and_no_percentiles() -> None:
    nothing = totals([])

    assert (nothing.total, nothing.success_rate, nothing.p99_ms, nothing.max_ms) == (0, None, None, None)


@pytest.mark.fault("AG-01")
def test_percentiles_are_merged_and_never_averaged() -> None:
    """A busy quick window and a small slow one have the p99 of all their calls, not the middle of their two p99."""
    rng = np.random.default_rng(11)
    quick, slow = rng.normal(100, 4, 900).tolist(), rng.normal(3_000, 50, 100).tolist()
    both = windows(*calls(quick), *calls(slow, minutes=5))
    exact = float(np.quantile(quick + slow, 0.99, method="lower"))
    averaged = sum(window.p99_ms or 0 for window in both) / 2

    merged = totals(both).p99_ms

    assert merged == pytest.approx(exact, rel=0.01)
    assert averaged < 0.6 * exact


def test_totals_add_up_what_the_windows_count() -> None:
    found = totals(
        windows(
            *calls([10.0, 20.0]), row(failed_call(created_at=NOON + timedelta(minutes=5), duration_ms=5.0))
        )
    )

    assert (found.total, found.successful, found.failed) == (3, 2, 1)
    assert found.success_rate == pytest.approx(2 / 3)
    assert found.max_ms == 20.0


def test_a_damaged_sketch_is_not_passed_over() -> None:
    (window,) = windows(*calls([10.0]))

    with pytest.raises(ValueError, match="packed histogram"):
        percentiles([window, replace(window, latency_histogram=b"?")])
