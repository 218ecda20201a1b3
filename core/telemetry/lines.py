"""The lines of the log that tell of a call."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta

from core.errors import RateLimited
from core.model.answer import STAND_INS
from core.model.call_record import Attempt, CallRecord
from core.model.verdict import Verdict


def tell(record: CallRecord) -> None:
    """Write what came of one call, each line with the time of what it tells, whenever it is written.

    Each attempt that failed has a line before that of the call. A call that the rate limiter held back or refused has a line of its own besides. The lines of an integration come
    from the logger `bongsu.integration.<name>`, whose level can be set by itself.
    """
    log = logging.getLogger(f"bongsu.integration.{record.integration}")
    if log.isEnabledFor(logging.WARNING):
        for attempt in record.attempts:
            if attempt.verdict is not Verdict.OK:
                after_ms = attempt.started_ms + attempt.duration_ms
                _write(
                    log, logging.WARNING, "attempt.failed", record, after_ms, _about_attempt(record, attempt)
                )
    level, event = _outcome(record)
    if log.isEnabledFor(level):
        _write(log, level, event, record, record.duration_ms, _about(record) | _said(record))
    if (record.is_rate_limited or record.limiter_wait_ms > 0) and log.isEnabledFor(logging.WARNING):
        event = "limiter.refused" if record.error_type == RateLimited.__name__ else "limiter.held_back"
        waited = {"waited_ms": round(record.limiter_wait_ms, 1)}
        _write(log, logging.WARNING, event, record, record.duration_ms, _about(record) | waited)


def _write(
    log: logging.Logger,
    level: int,
    event: str,
    record: CallRecord,
    after_ms: float,
    fields: Mapping[str, object],
) -> None:
    """One line, of what happened `after_ms` milliseconds after the call began."""
    line = log.makeRecord(log.name, level, __file__, 0, event, (), None, extra=fields)
    ended = (record.created_at + timedelta(milliseconds=after_ms)).timestamp()
    line.relativeCreated += (ended - line.created) * 1000
    line.created = ended
    line.msecs = ended % 1 * 1000
    log.handle(line)


def _outcome(record: CallRecord) -> tuple[int, str]:
    if record.source in STAND_INS and not record.is_success:
        return logging.WARNING, "call.stood_in_for"
    if not record.is_success:
        return logging.ERROR, "call.failed"
    if record.error_type is not None:
        return logging.INFO, "call.callers_mistake"
    return logging.INFO, "call.cached" if record.is_from_cache else "call.answered"


def _about_attempt(record: CallRecord, attempt: Attempt) -> dict[str, object]:
    return {
        "integration": record.integration,
        "operation": record.operation,
        "provider": attempt.provider,
        "attempt": attempt.number,
        "verdict": attempt.verdict.value,
        "status": attempt.status,
        "detail": attempt.detail,
        "duration_ms": round(attempt.duration_ms, 1),
        "is_mock": record.is_mock,
        "trace_id": record.trace_id,
    }


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
