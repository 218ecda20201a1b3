"""Properties 2, 24 and 25: counts are recounts, rates add up to one, percentiles keep their error."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import UTC, datetime

import pytest
from ddsketch import DDSketch
from hypothesis import given
from hypothesis import strategies as st

from core.metrics.histogram import LatencyHistogram
from core.metrics.totals import totals
from core.metrics.window import aggregate
from core.model.answer import Source
from core.model.call_row import CallRow
from tests.call_rows import OF_OUR_OWN, is_limited, records, row
from tests.fakes import NOON

ROUNDING = 1e-9
QUANTILES = (0.5, 0.95, 0.99)
durations = st.floats(0.1, 60_000)
some_rows = st.lists(records().map(row), max_size=60)


def counted(rows: list[CallRow]) -> list[CallRow]:
    return [each for each in rows if each.error_type not in OF_OUR_OWN]


def exact(values: list[float], q: float) -> float:
    return sorted(values)[math.floor(q * (len(values) - 1))]


@pytest.mark.property(2)
@given(some_rows)
def test_the_counts_of_a_window_equal_a_recount_of_its_rows(rows: list[CallRow]) -> None:
    by_window: defaultdict[tuple[str, str, datetime], list[CallRow]] = defaultdict(list)
    for each in rows:
        if each.error_type in OF_OUR_OWN and not is_limited(each):
            continue
        start = datetime.fromtimestamp(each.created_at.timestamp() // 300 * 300, UTC)
        by_window[each.integration_name, each.operation, start].append(each)

    windows = aggregate(rows, updated_at=NOON)

    assert len(windows) == len(by_window)
    for window in windows:
        limited = by_window[window.integration_name, window.operation, window.window_start]
        own = counted(limited)
        assert window.total_calls == len(own)
        assert window.successful_calls == sum(each.is_success for each in own)
        assert window.failed_calls == sum(not each.is_success for each in own)
        assert window.cached_calls == sum(each.source == Source.CACHE for each in own)
        assert window.stale_calls == sum(each.source == Source.STALE for each in own)
        assert window.mock_calls == sum(each.is_mock for each in own)
        assert window.timeouts == sum(each.error_type == "AttemptTimedOut" for each in own)
        assert window.retries == sum(each.retry_count for each in own)
        assert window.circuit_openings == sum(each.circuit_opened for each in own)
        assert window.rate_limited_calls == sum(map(is_limited, limited))
        assert window.sum_ms == pytest.approx(sum(each.duration_ms for each in own))
        assert window.max_ms == max((each.duration_ms for each in own), default=0.0)


@pytest.mark.property(24)
@given(some_rows)
def test_success_rate_and_failure_rate_add_up_to_one_and_equal_a_recount(rows: list[CallRow]) -> None:
    found = totals(aggregate(rows, updated_at=NOON))
    calls = counted(rows)

    assert found.total == found.successful + found.failed == len(calls)
    if not calls:
        assert found.success_rate is None
        return
    succeeded = sum(each.is_success for each in calls)
    assert found.success_rate == succeeded / len(calls)
    assert found.success_rate + found.failed / found.total == pytest.approx(1)
    assert found.failed == len(calls) - succeeded


@pytest.mark.property(25)
@given(st.lists(st.lists(durations, max_size=40), min_size=1, max_size=6).filter(any))
def test_percentiles_ascend_and_are_within_one_percent_also_when_merged(windows: list[list[float]]) -> None:
    values = [value for window in windows for value in window]
    parts = [LatencyHistogram.of(window).pack() for window in windows]

    for histogram in (
        LatencyHistogram.of(values),
        LatencyHistogram.merge_packed(parts),
        LatencyHistogram.merge_packed(reversed(parts)),
    ):
        found = [histogram.quantile(q) or 0.0 for q in QUANTILES]
        assert histogram.count == len(values)
        assert histogram.longest == max(values)
        assert [*found, histogram.longest] == sorted([*found, histogram.longest])
        for q, quantile in zip(QUANTILES, found, strict=True):
            assert quantile == pytest.approx(exact(values, q), rel=0.01 + ROUNDING)


@pytest.mark.property(25)
@given(st.lists(durations, min_size=1, max_size=200), st.floats(0, 1))
def test_every_quantile_agrees_with_ddsketch(values: list[float], q: float) -> None:
    """The oracle and the histogram give the same bucket's middle, which only the exact extremes may better."""
    oracle = DDSketch(0.01)
    for value in values:
        oracle.add(value)

    answer = oracle.get_quantile_value(q)
    assert answer is not None
    expected = min(max(answer, min(values)), max(values))

    assert LatencyHistogram.of(values).quantile(q) == pytest.approx(expected, rel=1e-6)


@pytest.mark.property(25)
@given(st.lists(st.floats(0, 1e9), max_size=100))
def test_packing_loses_nothing_whatever_the_durations(values: list[float]) -> None:
    histogram = LatencyHistogram.of(values)

    again = LatencyHistogram.unpack(histogram.pack())

    assert again.indexes.tolist() == histogram.indexes.tolist()
    assert again.counts.tolist() == histogram.counts.tolist()
    assert (again.shortest, again.longest) == (histogram.shortest, histogram.longest)
