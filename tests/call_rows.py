"""Call-log rows as aggregation reads them, made of call records; and any call that Hypothesis can think of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from hypothesis import strategies as st

from core.model.answer import Source
from core.model.call_record import CallRecord
from core.model.call_row import CallRow
from core.model.metric_window import MetricWindow
from tests.builders import call_record
from tests.fakes import NOON


def row(record: CallRecord) -> CallRow:
    """The row that is kept of a record."""
    exchange = record.exchange
    return CallRow(
        id=record.id,
        created_at=record.created_at,
        integration_name=record.integration,
        integration_type=record.integration_type,
        operation=record.operation,
        provider=record.provider,
        request_method=exchange.method if exchange else None,
        request_url=exchange.url if exchange else None,
        response_status=exchange.response_status if exchange else None,
        duration_ms=record.duration_ms,
        is_success=record.is_success,
        source=record.source,
        is_from_cache=record.is_from_cache,
        is_mock=record.is_mock,
        error_type=record.error_type,
        error_message=record.error_message,
        user_id=record.user_id,
        trace_id=record.trace_id,
        retry_count=record.retry_count,
        circuit_breaker_state=record.circuit_state,
        circuit_opened=record.circuit_opened,
        is_rate_limited=record.is_rate_limited,
        limiter_wait_ms=record.limiter_wait_ms,
        idempotency_key=record.idempotency_key,
    )


def records() -> st.SearchStrategy[CallRecord]:
    """Any call that began within half an hour of noon, however it ended."""
    return st.builds(
        call_record,
        created_at=st.timedeltas(timedelta(minutes=-30), timedelta(minutes=30)).map(lambda off: NOON + off),
        integration=st.sampled_from(("address", "email", "주소")),
        operation=st.sampled_from(("search", "send")),
        duration_ms=st.floats(0, 120_000),
        is_success=st.booleans(),
        source=st.sampled_from((None, *Source)),
        error_type=st.sampled_from(
            (None, "AttemptTimedOut", "DeadlineExceeded", "InvalidRequest", "RateLimited", "CircuitOpen")
        ),
        error_message=st.text(max_size=20),
        limiter_wait_ms=st.sampled_from((0.0, 12.5)),
        is_rate_limited=st.booleans(),
        circuit_opened=st.booleans(),
        is_mock=st.booleans(),
    )


class CallPages:
    """A call log in memory that answers in pages, as the stored one does."""

    def __init__(self, rows: Sequence[CallRow] = ()) -> None:
        self.rows = list(rows)
        self.asked: list[tuple[datetime, datetime]] = []
        self.pages = 0

    def measures(
        self, start: datetime, end: datetime, after_id: int | None = None, limit: int = 10_000
    ) -> list[CallRow]:
        self.pages += 1
        if after_id is None:
            self.asked.append((start, end))
        found = sorted(
            (row for row in self.rows if start <= row.created_at < end and row.id > (after_id or -1)),
            key=lambda row: row.id,
        )
        return found[:limit]


class Windows:
    """Windows in memory, one for each integration, operation and time."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str, int, datetime], MetricWindow] = {}

    def newest_start(self, window_minutes: int = 5) -> datetime | None:
        return max((start for _, _, minutes, start in self.kept if minutes == window_minutes), default=None)

    def upsert(self, windows: Sequence[MetricWindow]) -> None:
        for window in windows:
            key = window.integration_name, window.operation, window.window_minutes, window.window_start
            self.kept[key] = window


OF_OUR_OWN: Final = frozenset(
    {"InvalidRequest", "NotConfigured", "IntegrationDisabled", "RateLimited", "DeadlineExceeded"}
)
"""Errors that say nothing about the third party, as the document of the error tree has them."""


def is_limited(call: CallRecord | CallRow) -> bool:
    """Whether the limiter held a call back, or refused it."""
    return call.is_rate_limited or call.limiter_wait_ms > 0
