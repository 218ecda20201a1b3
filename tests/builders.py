"""Ordinary things, each with sensible fields, so that a test names only what it is about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypedDict, Unpack

from core.model.answer import Source
from core.model.call_record import Attempt, CallRecord, Exchange, record_id
from core.model.calling import CallClass, Safety
from core.model.decision import AdmissionSight, CacheSight, Decision, Turn, Why
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
    idempotency_key: str | None
    decision: Decision | None


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


def decision() -> Decision:
    """What a call saw whose provider had failed, and whose second choice had no token left at first."""
    return Decision(
        call_class=CallClass.BATCH,
        safety=Safety.IDEMPOTENT,
        deadline_ms=60_000.0,
        policy="5d41402abc4b",
        why=Why.ANSWERED,
        cache=CacheSight.STALE,
        cache_age_ms=7_200_000.0,
        admissions=(
            AdmissionSight(
                "juso",
                0.1,
                Turn.CIRCUIT_OPEN,
                CircuitState.OPEN,
                5,
                retry_after_ms=12_300.0,
                reason="kim: 점검",
            ),
            AdmissionSight("kakao", 0.3, Turn.GRANTED, CircuitState.CLOSED, 0, 59, 999, wait_ms=250.0),
        ),
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


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that has ended (`core.model.call_record.EndedCall`), with the record that will be made of it."""

    made: CallRecord
    held_bytes: int = 4_096

    def record(self) -> CallRecord:
        return self.made


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
