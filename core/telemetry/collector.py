"""The collector: what is told of every call, and the windows that are made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from core.clock import Clock
from core.metrics.totals import Percentiles, percentiles
from core.metrics.window import WINDOW_MINUTES, CallMeasure, aggregate, floor
from core.model.answer import Source
from core.model.call_record import CallRecord
from core.model.metric_window import MetricWindow

_REWORKED_WINDOWS: Final = 3
_FURTHEST_BACK: Final = timedelta(hours=24)
_PAGE: Final = 10_000


class RecordKeeper(Protocol):
    """Where records go to be stored (`core.telemetry.recorder.Recorder`)."""

    def put(self, record: CallRecord) -> None:
        """Have `record` stored soon."""


class CallReader(Protocol):
    """Where call-log rows are read."""

    def between(
        self, start: datetime, end: datetime, after_id: int | None = None, limit: int = _PAGE
    ) -> Sequence[CallMeasure]:
        """The rows of calls from `start` until before `end`, by id, at most `limit` after `after_id`."""


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
        log = structlog.stdlib.get_logger(f"bongsu.integration.{record.integration}").bind(**_about(record))
        _say(log, record)
        if record.is_rate_limited or record.limiter_wait_ms > 0:
            log.warning(
                "limiter.refused" if _is_refused(record) else "limiter.held_back",
                waited_ms=round(record.limiter_wait_ms, 1),
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
        last: int | None = None
        while page := self._reader.between(start, end, after_id=last, limit=_PAGE):
            yield from page
            last = page[-1].id


def _start(now: datetime, newest: datetime | None) -> datetime:
    recent = floor(now) - timedelta(minutes=WINDOW_MINUTES) * (_REWORKED_WINDOWS - 1)
    earliest = floor(now - _FURTHEST_BACK)
    return max(earliest, min(recent, newest or earliest))


def _about(record: CallRecord) -> dict[str, object]:
    return {
        "integration": record.integration,
        "operation": record.operation,
        "provider": record.provider,
        "duration_ms": round(record.duration_ms, 1),
        "attempts": len(record.attempts),
        "is_mock": record.is_mock,
        "circuit": record.circuit_state.value,
        "trace_id": record.trace_id,
        "user_id": record.user_id,
    }


def _is_refused(record: CallRecord) -> bool:
    return record.is_rate_limited and not record.is_success


def _say(log: structlog.stdlib.BoundLogger, record: CallRecord) -> None:
    if not record.is_success:
        log.error(
            "call.failed", error_type=record.error_type, error=record.error_message, **_exchanged(record)
        )
    elif record.error_type is not None:
        log.warning(
            "call.stood_in_for",
            source=record.source,
            error_type=record.error_type,
            error=record.error_message,
            **_exchanged(record),
        )
    elif record.source is Source.CACHE:
        log.info("call.cached", source=record.source)
    else:
        log.info("call.answered", source=record.source, **_exchanged(record))


def _exchanged(record: CallRecord) -> dict[str, object]:
    if record.exchange is None:
        return {}
    return {
        "method": record.exchange.method,
        "url": record.exchange.url,
        "status": record.exchange.response_status,
    }
