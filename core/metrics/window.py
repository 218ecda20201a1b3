"""Windows: what came of the calls of five minutes, counted from their call-log rows.

A call counts in the window that its start falls into, by UTC. A call that ended for reasons of our own (a request
that is not valid, our own limit or deadline, an integration switched off or without credentials, an interruption)
is no call of the window, since it says nothing about the third party; only that the limiter held it back or refused
it is counted. Of every other call the row's `is_success` is the authority, so that successful + failed = total.
Durations are what callers waited, answers from the cache included.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from core.errors import AttemptTimedOut, telling_errors
from core.metrics.histogram import LatencyHistogram, is_measured
from core.model.answer import Source
from core.model.metric_window import MetricWindow

WINDOW_MINUTES: Final = 5

_GROWING_WINDOWS: Final = 3
_TELLING: Final = telling_errors()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FLAGS: Final = ("counted", "success", "cached", "stale", "mock", "timeout", "opening", "limited")
_COLUMNS: Final = np.dtype(
    [("group", np.int64), ("ms", np.float64), ("retries", np.int64), *((flag, np.bool_) for flag in _FLAGS)]
)

_Group = tuple[str, str, int]
_Columns = npt.NDArray[np.void]


class CallMeasure(Protocol):
    """What aggregation reads of a call-log row."""

    @property
    def id(self) -> int: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def integration_name(self) -> str: ...
    @property
    def operation(self) -> str: ...
    @property
    def duration_ms(self) -> float: ...
    @property
    def is_success(self) -> bool: ...
    @property
    def source(self) -> str | None: ...
    @property
    def is_mock(self) -> bool: ...
    @property
    def error_type(self) -> str | None: ...
    @property
    def retry_count(self) -> int: ...
    @property
    def circuit_opened(self) -> bool: ...
    @property
    def is_rate_limited(self) -> bool: ...
    @property
    def limiter_wait_ms(self) -> float: ...


def floor(at: datetime, window_minutes: int = WINDOW_MINUTES) -> datetime:
    """The start of the window that `at` falls into: whole windows since 1970, by UTC, whatever zone `at` has."""
    window = timedelta(minutes=window_minutes)
    return _EPOCH + (at - _EPOCH) // window * window


def reworked_from(newest: datetime) -> datetime:
    """Where counting anew begins when `newest` is the newest window that was counted.

    A call counts in the window in which it began and is on record only when it ends, so the last three windows may
    still have been growing when they were counted.
    """
    return floor(newest) - timedelta(minutes=WINDOW_MINUTES) * (_GROWING_WINDOWS - 1)


def is_counted(row: CallMeasure) -> bool:
    """Whether a call says anything about the third party (`core.errors.CallError.tells_of_provider`)."""
    return row.error_type is None or row.error_type in _TELLING


def aggregate(
    rows: Iterable[CallMeasure], window_minutes: int = WINDOW_MINUTES, *, updated_at: datetime
) -> list[MetricWindow]:
    """The windows of these rows, oldest first; `updated_at` is when it is done. A window without calls is not there.

    A row whose duration is no number counts as a call, and is left out of the latency figures.
    """
    groups: dict[_Group, int] = {}
    columns = _read(rows, groups, timedelta(minutes=window_minutes))
    counts = {name: _sum(columns, name, len(groups)) for name in ("retries", *_FLAGS)}
    measured = columns[is_measured(columns["ms"]) & columns["counted"]]
    sums = np.bincount(measured["group"], weights=measured["ms"], minlength=len(groups))
    histograms = LatencyHistogram.of_groups(measured["ms"], measured["group"], len(groups))
    return [
        _window(
            name,
            {key: int(column[group]) for key, column in counts.items()},
            histograms[group],
            sum_ms=float(sums[group]),
            window_minutes=window_minutes,
            updated_at=updated_at,
        )
        for name, group in sorted(groups.items(), key=lambda item: (item[0][2], item[0]))
    ]


def _read(rows: Iterable[CallMeasure], groups: dict[_Group, int], window: timedelta) -> _Columns:
    return np.fromiter(
        (
            (
                groups.setdefault(
                    (row.integration_name, row.operation, (row.created_at - _EPOCH) // window), len(groups)
                ),
                row.duration_ms,
                row.retry_count if (counted := is_counted(row)) else 0,
                counted,
                counted and row.is_success,
                counted and row.source == Source.CACHE,
                counted and row.source == Source.STALE,
                counted and row.is_mock,
                row.error_type == AttemptTimedOut.__name__,
                counted and row.circuit_opened,
                _is_limited(row),
            )
            for row in rows
            if is_counted(row) or _is_limited(row)
        ),
        _COLUMNS,
    )


def _is_limited(row: CallMeasure) -> bool:
    return row.is_rate_limited or row.limiter_wait_ms > 0


def _sum(columns: _Columns, name: str, groups: int) -> npt.NDArray[np.int64]:
    return np.bincount(columns["group"], weights=columns[name], minlength=groups).astype(np.int64)


def _window(
    group: _Group,
    counts: dict[str, int],
    histogram: LatencyHistogram,
    *,
    sum_ms: float,
    window_minutes: int,
    updated_at: datetime,
) -> MetricWindow:
    integration, operation, number = group
    return MetricWindow(
        integration_name=integration,
        operation=operation,
        window_minutes=window_minutes,
        window_start=_EPOCH + number * timedelta(minutes=window_minutes),
        total_calls=counts["counted"],
        successful_calls=counts["success"],
        failed_calls=counts["counted"] - counts["success"],
        cached_calls=counts["cached"],
        stale_calls=counts["stale"],
        mock_calls=counts["mock"],
        timeouts=counts["timeout"],
        retries=counts["retries"],
        circuit_openings=counts["opening"],
        rate_limited_calls=counts["limited"],
        sum_ms=sum_ms,
        max_ms=histogram.longest,
        p50_ms=histogram.quantile(0.50),
        p95_ms=histogram.quantile(0.95),
        p99_ms=histogram.quantile(0.99),
        latency_histogram=histogram.pack(),
        updated_at=updated_at,
    )
