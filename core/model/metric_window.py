"""What came of the calls of one integration's operation within one window of time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class MetricWindow:
    """One row of `integration_metrics`. Times of calls are milliseconds.

    `successful_calls` + `failed_calls` = `total_calls`. `cached_calls` were answered by a fresh cache entry,
    `stale_calls` by one past its time. `rate_limited_calls` were held back or refused by the limiter.
    `latency_histogram` is a packed `core.metrics.histogram.LatencyHistogram`; the percentiles are read from it
    and are None when no call was measured.
    """

    integration_name: str
    operation: str
    window_minutes: int
    window_start: datetime
    total_calls: int
    successful_calls: int
    failed_calls: int
    cached_calls: int
    stale_calls: int
    mock_calls: int
    timeouts: int
    retries: int
    circuit_openings: int
    rate_limited_calls: int
    sum_ms: float
    max_ms: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    latency_histogram: bytes
    updated_at: datetime
