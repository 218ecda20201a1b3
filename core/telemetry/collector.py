"""The collector: what is told of every call, and the windows that are made of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from core.clock import Clock
from core.errors import RateLimited
from core.metrics.totals import Percentiles, percentiles
from core.metrics.window import WINDOW_MINUTES, CallMeasure, aggregate, floor, reworked_from
from core.model.answer import STAND_INS, Source
from core.model.call_record import CallRecord
from core.model.metric_window import MetricWindow
from core.model.paging import in_pages

_FURTHEST_BACK: Final = timedelta(hours=24)
_PAGE: Final = 10_000


class RecordKeeper(Protocol):
    """Where records go to be stored (`core.telemetry.recorder.Recorder`)."""

    def put(self, record: CallRecord) -> None:
        """Have `record` stored soon."""


class CallReader(Protocol):
    """Where what is counted of calls is read."""

    def measures(
        self, start: datetime, end: datetime, after_id: int | None = None, limit: int = _PAGE
    ) -> Sequence[CallMeasure]:
        """The calls from `start` until before `end`, by id, the first `limit` after `after_id`, or all there are."""


class WindowWriter(Protocol):
    """Where windows are kept."""

    def newest_start(self, window_minutes: int = WINDOW_MINUTES) -> datetime | None:
        """The start of the newest window that is kept."""

    def upsert(self, windows: Sequence[MetricWindow]) -> None:
        """Keep windows, each in the place of the one of the same integration, operation and time."""


class MetricsCollector:
    """Logs and records each call, and aggregates the calls on record."""

    def __init__(
        self, recorder: RecordKeeper, *, reader: CallReader, writer: WindowWriter, clock: Clock
    ) -> None:
        self._recorder = recorder
        self._reader = reader
        self._writer = writer
        self._clock = clock

    def record(self, record: CallRecord) -> None:
        """Tell of one call: a line in the log, and a row in the call log.

        A call that the rate limiter held back or refused has a line of its own besides. The lines of an
        integration come from the logger `bongsu.integration.<name>`, whose level can be set by itself.
        """
        log = logging.getLogger(f"bongsu.integration.{record.integration}")
        level, event = _outcome(record)
        if log.isEnabledFor(level):
            log.log(level, event, extra=_about(record) | _said(record))
        if (record.is_rate_limited or record.limiter_wait_ms > 0) and log.isEnabledFor(logging.WARNING):
            is_refused = record.error_type == RateLimited.__name__
            waited = {"waited_ms": round(record.limiter_wait_ms, 1)}
            log.warning(
                "limiter.refused" if is_refused else "limiter.held_back", extra=_about(record) | waited
            )
        self.record_call_log(record)

    def record_call_log(self, record: CallRecord) -> None:
        """Have one call's row stored."""
        self._recorder.put(record)

    def aggregate_metrics(self, now: datetime | None = None, *, since: datetime | None = None) -> int:
        """Count the newest calls into windows, and return how many windows that made.

        The last 3 windows are counted anew, since they may still have been growing, and all since the newest
        one on record, at most 24 hours back; or all from `since`. Doing it twice changes nothing.
        """
        now = self._clock.now() if now is None else now
        newest = self._writer.newest_start(WINDOW_MINUTES)
        start = _start(now, newest) if since is None else floor(since)
        # A window newer than now was written before the clock was set back; its calls count all the same.
        end = floor(now if newest is None else max(now, newest)) + timedelta(minutes=WINDOW_MINUTES)
        windows = aggregate(self._rows(start, end), updated_at=now)
        self._writer.upsert(windows)
        return len(windows)

    def calculate_percentiles(self, windows: Iterable[MetricWindow]) -> Percentiles:
        """The percentiles of all calls of these windows together, from their merged sketches."""
        return percentiles(windows)

    def _rows(self, start: datetime, end: datetime) -> Iterator[CallMeasure]:
        return in_pages(lambda last: self._reader.measures(start, end, last, _PAGE), _PAGE)


def _start(now: datetime, newest: datetime | None) -> datetime:
    earliest = floor(now - _FURTHEST_BACK)
    return earliest if newest is None else max(earliest, reworked_from(min(now, newest)))


def _outcome(record: CallRecord) -> tuple[int, str]:
    if record.source in STAND_INS:
        return logging.WARNING, "call.stood_in_for"
    if not record.is_success:
        return logging.ERROR, "call.failed"
    if record.error_type is not None:
        return logging.INFO, "call.callers_mistake"
    return logging.INFO, "call.cached" if record.source is Source.CACHE else "call.answered"


def _about(record: CallRecord) -> dict[str, object]:
    return {
        "integration": record.integration,
        "operation": record.operation,
        "provider": record.provider,
        "source": record.source,
        "duration_ms": round(record.duration_ms, 1),
        "attempts": len(record.attempts),
        "is_mock": record.is_mock,
        "circuit": record.circuit_state.value,
        "trace_id": record.trace_id,
        "user_id": record.user_id,
    }


def _said(record: CallRecord) -> dict[str, object]:
    """What went wrong, and what was said, as far as there is any."""
    said: dict[str, object] = {}
    if record.error_type is not None:
        said |= {"error_type": record.error_type, "error": record.error_message}
    if record.exchange is not None:
        exchange = record.exchange
        said |= {"method": exchange.method, "url": exchange.url, "status": exchange.response_status}
    return said
