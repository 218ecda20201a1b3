"""Ordinary things, each with sensible fields, so that a test names only what it is about."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TypedDict, Unpack

from core.model.answer import Source
from core.model.call_record import Attempt, CallRecord, Exchange, record_id
from core.model.health import CircuitState, HealthCheck, HealthStatus
from core.model.identity import Sequence
from core.model.verdict import Verdict
from tests.fakes import NOON

_sequence = Sequence()


class CallRecordChanges(TypedDict, total=False):
    """The fields of a call record, each of which a test may choose."""

    id: int
    created_at: datetime
    integration: str
    integration_type: str
    operation: str
    provider: str | None
    exchange: Exchange | None
    duration_ms: float
    is_success: bool
    source: Source | None
    error_type: str | None
    error_message: str | None
    trace_id: str
    user_id: str | None
    attempts: tuple[Attempt, ...]
    circuit_state: CircuitState
    circuit_opened: bool
    limiter_wait_ms: float
    is_rate_limited: bool
    is_mock: bool


class HealthCheckChanges(TypedDict, total=False):
    """The fields of a health check, each of which a test may choose."""

    integration: str
    checked_at: datetime
    status: HealthStatus
    circuit_state: CircuitState
    duration_ms: float
    message: str
    details: dict[str, str]


def exchange() -> Exchange:
    """An address search and its answer, as they are recorded."""
    return Exchange(
        method="GET",
        url="https://business.juso.go.kr/addrlink/addrLinkApi.do?keyword=세종대로",
        request_headers=(("Accept", "application/json"), ("Accept", "*/*")),
        request_body=None,
        response_status=200,
        response_headers=(("Content-Type", "application/json;charset=UTF-8"),),
        response_body='{"results":{"common":{"errorCode":"0"},"juso":[]}}',
    )


def attempt() -> Attempt:
    """One attempt that went well."""
    return Attempt(
        provider="juso", number=1, started_ms=0.4, duration_ms=41.5, verdict=Verdict.OK, status=200
    )


def call_record(**changes: Unpack[CallRecordChanges]) -> CallRecord:
    """A live, successful address search at noon. Each has an id of its own that fits its time."""
    created_at = changes.get("created_at", NOON)
    record = CallRecord(
        id=record_id(created_at, _sequence.next()),
        created_at=created_at,
        integration="address",
        integration_type="api",
        operation="search",
        provider="juso",
        exchange=exchange(),
        duration_ms=42.5,
        is_success=True,
        source=Source.LIVE,
        error_type=None,
        error_message=None,
        trace_id="0af7651916cd43dd8448eb211c80319c",
        user_id=None,
        attempts=(attempt(),),
        circuit_state=CircuitState.CLOSED,
        circuit_opened=False,
        limiter_wait_ms=0.0,
        is_rate_limited=False,
        is_mock=False,
    )
    return replace(record, **changes)


def failed_call(**changes: Unpack[CallRecordChanges]) -> CallRecord:
    """An address search that the provider did not answer in time."""
    failure: CallRecordChanges = {
        "is_success": False,
        "source": None,
        "error_type": "AttemptTimedOut",
        "error_message": "the provider did not answer in time",
    }
    failure.update(changes)
    return call_record(**failure)


def health_check(**changes: Unpack[HealthCheckChanges]) -> HealthCheck:
    """A check at noon that found the address integration healthy."""
    check = HealthCheck(
        integration="address",
        checked_at=NOON,
        status=HealthStatus.HEALTHY,
        circuit_state=CircuitState.CLOSED,
        duration_ms=31.0,
        message="all providers answer",
        details={"juso": "answers", "kakao": "answers"},
    )
    return replace(check, **changes)
