"""The collector: takes each call that has ended, and makes windows of the calls on record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from core.clock import Clock
from core.metrics.totals import Percentiles, percentiles
from core.metrics.window import WINDOW_MINUTES, CallMeasure, aggregate, floor, reworked_from
from core.model.call_record import EndedCall
from core.model.metric_window import MetricWindow
from core.model.paging import in_pages

_FURTHEST_BACK: Final = timedelta(hours=24)
_PAGE: Final = 10_000


class RecordKeeper(Protocol):
    """Where calls go to be told of and stored (`core.telemetry.recorder.Recorder`)."""

    def put(self, ended: EndedCall) -> None:
        """Have the record of `ended` made, told of and stored soon."""


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
    """Hands each call over to be logged and recorded, and aggregates the calls on record."""

    def __init__(
        self, recorder: RecordKeeper, *, reader: CallReader, writer: WindowWriter, clock: Clock
    ) -> None:
        self._recorder = recorder
        self._reader = reader
        self._writer = writer
        self._clock = clock

    def record(self, ended: EndedCall) -> None:
        """Have one call told of, by a line in the log, and put on record, by a row in the call log.

        Both come of one record, which the recorder's thread makes: the caller only hands the call over.
        """
        self._recorder.put(ended)

    record_call_log = record

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
