"""Calls that have ended, as the recorder takes them: their records are made, and redacted, in its own thread."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import urlencode

from core.client.call import Call
from core.client.run import Run, Sight
from core.clock import Clock
from core.model.answer import Source
from core.model.call_record import CallRecord, Exchange, record_id
from core.model.decision import AdmissionSight, CacheSight, Decision, Turn, Why
from core.model.health import CircuitState
from core.model.message import ApiRequest, ApiResponse
from core.policies.admission import Granted, RefusedByCircuit, RefusedByLimiter
from core.policies.policy import CallPolicy
from core.redaction import Redactor
from core.state.base import FailedElsewhere, FetchedElsewhere

T = TypeVar("T")


class EndedHit(NamedTuple):
    """A call that was answered at once, from the process's own memory, when it was `at` (monotonic seconds).

    It took about two microseconds, which are not measured.
    """

    call: Call[object]
    clock: Clock
    at: float
    number: int
    provider: str
    age_s: float

    @property
    def held_bytes(self) -> int:
        """See `core.model.call_record.EndedCall`. The answer is held by the cache."""
        return 0

    def record(self) -> CallRecord:
        """See `core.model.call_record.EndedCall`."""
        call, operation = self.call, self.call.operation
        created_at = _wall_time(self.clock, self.at)
        return CallRecord(
            id=record_id(created_at, self.number),
            created_at=created_at,
            integration=operation.integration,
            integration_type=operation.integration_type,
            operation=operation.name,
            provider=self.provider,
            exchange=None,
            duration_ms=0.0,
            is_success=True,
            source=Source.CACHE,
            error_type=None,
            error_message=None,
            trace_id=call.trace_id,
            user_id=call.user_id,
            attempts=(),
            circuit_state=CircuitState.CLOSED,
            circuit_opened=False,
            limiter_wait_ms=0.0,
            is_rate_limited=False,
            is_mock=operation.is_mock,
            decision=_decision(call, Why.KEPT_ANSWER, CacheSight.FRESH_HERE, self.age_s, ()),
        )


class EndedRun(Generic[T]):
    """A call that went all the way."""

    __slots__ = ("_run", "held_bytes")

    def __init__(self, run: Run[T]) -> None:
        self._run = run
        sent = len(run.request.body or b"") if run.request else 0
        self.held_bytes = sent + (len(run.response.body) if run.response else 0)

    def record(self) -> CallRecord:
        """See `core.model.call_record.EndedCall`."""
        run, call, operation = self._run, self._run.call, self._run.operation
        redactor, blame = run.tools.redactor, self._run.blame
        created_at = _wall_time(run.tools.clock, run.started)
        return CallRecord(
            id=record_id(created_at, run.number),
            created_at=created_at,
            integration=operation.integration,
            integration_type=operation.integration_type,
            operation=operation.name,
            provider=run.provider,
            exchange=_redacted(redactor, run.request, run.response) if run.request else None,
            duration_ms=(run.ended - run.started) * 1000,
            is_success=blame is None or blame.is_callers_own,
            source=run.source,
            error_type=blame.kind if blame else None,
            error_message=redactor.text(blame.text) if blame else None,
            trace_id=call.trace_id,
            user_id=call.user_id,
            attempts=tuple(map(run.clean, run.attempts)),
            circuit_state=run.circuit_state,
            circuit_opened=run.has_opened,
            limiter_wait_ms=run.limiter_wait_s * 1000,
            is_rate_limited=run.is_rate_limited,
            is_mock=operation.is_mock,
            idempotency_key=run.idempotency_key,
            decision=_decision(
                call,
                run.why,
                run.cache_sight,
                run.cache_age_s,
                tuple(_admission_sight(sight, run) for sight in run.sights),
            ),
        )


def _wall_time(clock: Clock, at: float) -> datetime:
    """What the wall clock showed at a monotonic time, unless it was set since."""
    return clock.now() - timedelta(seconds=clock.monotonic() - at)


def _decision(
    call: Call[object],
    why: Why,
    cache: CacheSight,
    age_s: float | None,
    admissions: tuple[AdmissionSight, ...],
) -> Decision:
    operation = call.operation
    return Decision(
        call_class=call.call_class,
        safety=operation.safety,
        deadline_ms=operation.policy.deadline_s * 1000,
        policy=_digest(operation.policy),
        why=why,
        cache=cache,
        cache_age_ms=None if age_s is None else age_s * 1000,
        admissions=admissions,
    )


@lru_cache(maxsize=256)
def _digest(policy: CallPolicy) -> str:
    """A short name of a policy: equal figures, equal name."""
    return hashlib.sha256(repr(policy).encode()).hexdigest()[:12]


def _admission_sight(sight: Sight, run: Run[T]) -> AdmissionSight:
    at_ms = (sight.at - run.started) * 1000
    match sight.outcome:
        case Granted() as granted:
            left = _tokens_left(granted, run)
            return AdmissionSight(
                sight.provider,
                at_ms,
                Turn.GRANTED,
                circuit=CircuitState.HALF_OPEN if granted.is_probe else CircuitState.CLOSED,
                failures=granted.failures,
                minute_left=left[0] if left else None,
                hour_left=left[1] if left else None,
                wait_ms=granted.wait_us / 1000,
            )
        case RefusedByCircuit(retry_after_us, wants_check, forced_by):
            return AdmissionSight(
                sight.provider,
                at_ms,
                Turn.CIRCUIT_OPEN,
                circuit=CircuitState.HALF_OPEN if wants_check else CircuitState.OPEN,
                retry_after_ms=retry_after_us / 1000,
                reason=run.tools.redactor.text(forced_by) if forced_by else None,
            )
        case RefusedByLimiter(retry_after_us) as refusal:
            left = _tokens_left(refusal, run)
            return AdmissionSight(
                sight.provider,
                at_ms,
                Turn.LIMIT_REACHED,
                minute_left=left[0] if left else None,
                hour_left=left[1] if left else None,
                retry_after_ms=retry_after_us / 1000,
            )
        case FetchedElsewhere(left_us):
            return AdmissionSight(
                sight.provider, at_ms, Turn.FETCHED_ELSEWHERE, retry_after_ms=left_us / 1000
            )
        case FailedElsewhere():
            return AdmissionSight(sight.provider, at_ms, Turn.FAILED_ELSEWHERE)


def _tokens_left(admission: Granted | RefusedByLimiter, run: Run[T]) -> tuple[int, int] | None:
    """How many calls the minute and the hour still allowed when the attempt was admitted, or refused."""
    limits = run.operation.policy.admission.limits
    if limits is None or admission.seen is None:
        return None
    return limits.limiter.left(admission.seen, admission.at, run.call.call_class)


def _redacted(redactor: Redactor, request: ApiRequest, response: ApiResponse | None) -> Exchange:
    return Exchange(
        method=request.method,
        url=redactor.url(_with_query(request)),
        request_headers=redactor.pairs(request.headers),
        request_body=redactor.body(request.body, None) if request.body is not None else None,
        response_status=response.status if response else None,
        response_headers=redactor.pairs(response.headers) if response else (),
        response_body=redactor.body(response.body, response.header("content-type")) if response else None,
    )


def _with_query(request: ApiRequest) -> str:
    return f"{request.url}?{urlencode(request.params)}" if request.params else request.url
