"""Totals: what came of the calls of any span of time, from its windows.

Counts are added and latency sketches merged. Percentiles are never averaged: two windows of very different
calls have no average that anybody ever waited.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from core.metrics.histogram import LatencyHistogram
from core.model.metric_window import MetricWindow
from core.model.overview import CallTotals


class Percentiles(NamedTuple):
    """Milliseconds, within 1 % of the exact value (the largest is exact); None when nothing was measured."""

    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


def percentiles(windows: Iterable[MetricWindow]) -> Percentiles:
    """The percentiles of all calls of these windows together.

    Raises ValueError when a window's sketch is damaged.
    """
    merged = LatencyHistogram.merge_packed(window.latency_histogram for window in windows)
    return Percentiles(
        merged.quantile(0.50),
        merged.quantile(0.95),
        merged.quantile(0.99),
        merged.longest if merged.count else None,
    )


def totals(windows: Iterable[MetricWindow]) -> CallTotals:
    """What came of all calls of these windows together. Raises ValueError when a window's sketch is damaged."""
    windows = list(windows)
    latency = percentiles(windows)
    return CallTotals(
        total=sum(window.total_calls for window in windows),
        successful=sum(window.successful_calls for window in windows),
        failed=sum(window.failed_calls for window in windows),
        cached=sum(window.cached_calls for window in windows),
        stale=sum(window.stale_calls for window in windows),
        mocked=sum(window.mock_calls for window in windows),
        p50_ms=latency.p50,
        p95_ms=latency.p95,
        p99_ms=latency.p99,
        max_ms=latency.max,
    )
