"""A call as it is read back from the call log: its row, what is counted of it, and what was said beside it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from core.model.answer import Source
from core.model.call_record import Attempt
from core.model.decision import Decision
from core.model.health import CircuitState
from core.model.message import Pairs


@dataclass(frozen=True, slots=True)
class CallRow:
    """One row of `integration_call_logs`, with the columns' names (`core.model.call_record.CallRecord`)."""

    id: int
    created_at: datetime
    integration_name: str
    integration_type: str
    operation: str
    provider: str | None
    request_method: str | None
    request_url: str | None
    response_status: int | None
    duration_ms: float
    is_success: bool
    source: Source | None
    is_from_cache: bool
    is_mock: bool
    error_type: str | None
    error_message: str | None
    user_id: str | None
    trace_id: str
    retry_count: int
    circuit_breaker_state: CircuitState
    circuit_opened: bool
    is_rate_limited: bool
    limiter_wait_ms: float
    idempotency_key: str | None


class CallMeasureRow(NamedTuple):
    """What is counted of a call (`core.metrics.window.CallMeasure`): some columns of `CallRow`, by their names.

    `source` is the word that stands for a `Source`.
    """

    id: int
    created_at: datetime
    integration_name: str
    operation: str
    duration_ms: float
    is_success: bool
    source: str | None
    is_mock: bool
    error_type: str | None
    retry_count: int
    circuit_opened: bool
    is_rate_limited: bool
    limiter_wait_ms: float


@dataclass(frozen=True, slots=True)
class CallBodies:
    """What was said in the call of the same id, redacted, each attempt that was made, and what was decided.

    `decision` is None for a call of before decisions were kept.
    """

    id: int
    request_headers: Pairs
    request_body: str | None
    response_headers: Pairs
    response_body: str | None
    attempts: tuple[Attempt, ...]
    decision: Decision | None


@dataclass(frozen=True, slots=True)
class TracedCall:
    """One call of a trace with all that is kept of it. `bodies` is None when they are not kept any more."""

    row: CallRow
    bodies: CallBodies | None
