"""One call in flight: the loop that carries out what `core.policies.pipeline.next_step` decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar, assert_never
from urllib.parse import urlencode

import structlog

from core.client import failure
from core.client.call import Call, Route
from core.clock import Chance, Clock
from core.errors import CallError, CallFailed, CallRejected
from core.model.answer import IntegrationResponse, Source
from core.model.call_record import Attempt, CallRecord, Exchange, record_id
from core.model.health import CircuitState
from core.model.identity import Sequence
from core.model.message import ApiRequest, ApiResponse
from core.model.verdict import Judgement, Verdict
from core.policies import pipeline
from core.policies.admission import Admission, Granted, RefusedByCircuit, RefusedByLimiter, Settlement
from core.policies.pipeline import Progress
from core.redaction import Redactor
from core.state.base import StateStore
from core.state.cache import CachedAnswer, CacheService
from core.transports.base import TransportFault

T = TypeVar("T")
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Tools:
    """What calls are carried out with: one set serves all integrations and all threads of a process."""

    state: StateStore
    cache: CacheService
    clock: Clock
    chance: Chance
    redactor: Redactor
    sequence: Sequence
    record: Callable[[CallRecord], None]


def settlement_of(verdict: Verdict) -> Settlement:
    """What an attempt that came to `verdict` proves about its provider."""
    if verdict.is_illness:
        return Settlement.ILL
    return Settlement.WELL if verdict.is_healthy else Settlement.NOTHING


class Run(Generic[T]):
    """One call in flight: its progress, and what its record will say."""

    def __init__(self, tools: Tools, call: Call[T]) -> None:
        self._tools = tools
        self._call = call
        self._clock = tools.clock
        self._created_at: datetime = tools.clock.now()
        self._started = tools.clock.monotonic()
        self._progress = Progress(
            policy=call.policy,
            routes=len(call.routes),
            deadline=self._started + call.policy.deadline_s,
        )
        self._kept: tuple[Route[T], CachedAnswer] | None = None
        self._response: ApiResponse | None = None
        self._exchanged: tuple[ApiRequest, ApiResponse | None] | None = None
        self._provider: str | None = None
        self._source: Source | None = None
        self._stand_in_for: CallError | None = None
        self._circuit_state = CircuitState.CLOSED
        self._circuit_opened = False
        self._limiter_wait_s = 0.0
        self._rate_limited = False
        self._held: tuple[Route[T], Granted] | None = None
        self._failure: CallError | None = None

    def answer(self) -> IntegrationResponse[T]:
        """Take step after step until one ends the call."""
        if self._call.refusal:
            raise self._call.refusal
        self._look_in_cache()
        while True:
            step = pipeline.next_step(self._progress, self._clock.monotonic(), self._tools.chance())
            if isinstance(step, pipeline.Ending):
                return self._conclude(step)
            self._carry_out(step)

    def check(self, route: Route[T]) -> Attempt:
        """One attempt with the provider's health request, if circuit and limits let it pass without a wait."""
        admission = self._ask(route, max_wait_us=0)
        if not isinstance(admission, Granted):
            self._failure = failure.rejected(self._call, admission, 0)
            is_ours = isinstance(admission, RefusedByLimiter)
            verdict = Verdict.THROTTLED if is_ours else Verdict.UNAVAILABLE
            return Attempt(route.provider.name, 0, 0.0, 0.0, verdict, detail=self._failure.what)
        attempt, _ = self._exchange(route, route.provider.health_request(), 1, self._call.policy.timeout_s)
        self._settle(settlement_of(attempt.verdict) if admission.is_probe else Settlement.NOTHING, attempt)
        self._progress = self._progress.after_attempt(attempt)
        if attempt.verdict is not Verdict.OK:
            self._failure = failure.failed(self._call, attempt)
        return attempt

    def release(self) -> None:
        """Give back what was granted and never used: whoever is interrupted must not keep a probe."""
        self._settle(Settlement.NOTHING, None)

    def _exchange(
        self, route: Route[T], request: ApiRequest, number: int, timeout_s: float
    ) -> tuple[Attempt, Judgement]:
        """Send one request and judge what comes back. Never raises for what the provider does."""
        started = self._clock.monotonic()
        self._response = None
        try:
            self._response = route.transport.send(request, timeout_s)
        except TransportFault as fault:
            judgement = Judgement(fault.verdict, fault.detail)
        else:
            judgement = route.provider.judge(self._call.operation, self._response)
        ended = self._clock.monotonic()
        self._exchanged = (request, self._response)
        attempt = Attempt(
            provider=route.provider.name,
            number=number,
            started_ms=(started - self._started) * 1000,
            duration_ms=(ended - started) * 1000,
            verdict=judgement.verdict,
            status=self._response.status if self._response else None,
            detail=self._tools.redactor.text(judgement.detail),
            retry_after=judgement.retry_after,
        )
        return attempt, judgement

    def call_record(self, error: BaseException | None) -> CallRecord:
        """What is kept of this call, now that it has ended, with `error` if it raised one."""
        blamed = error or self._failure or self._stand_in_for
        return CallRecord(
            id=record_id(self._created_at, self._tools.sequence.next()),
            created_at=self._created_at,
            integration=self._call.integration,
            integration_type=self._call.integration_type,
            operation=self._call.operation,
            provider=self._provider,
            exchange=_redacted(self._tools.redactor, *self._exchanged) if self._exchanged else None,
            duration_ms=(self._clock.monotonic() - self._started) * 1000,
            is_success=blamed is None or _is_callers_own(blamed),
            source=self._source,
            error_type=type(blamed).__name__ if blamed else None,
            error_message=self._tools.redactor.text(str(blamed)) if blamed else None,
            trace_id=self._call.trace_id,
            user_id=self._call.user_id,
            attempts=self._progress.attempts,
            circuit_state=self._circuit_state,
            circuit_opened=self._circuit_opened,
            limiter_wait_ms=self._limiter_wait_s * 1000,
            is_rate_limited=self._rate_limited,
            is_mock=self._call.is_mock,
        )

    def _carry_out(self, step: pipeline.Effect) -> None:
        match step:
            case pipeline.Admit():
                self._admit(step)
            case pipeline.Wait():
                self._wait(step)
            case pipeline.Send():
                self._send(step)
            case _:
                assert_never(step)

    def _conclude(self, step: pipeline.Ending) -> IntegrationResponse[T]:
        self.release()
        match step:
            case pipeline.Serve(Source.LIVE):
                return self._serve_live()
            case pipeline.Serve(source):
                return self._serve_kept(source)
            case pipeline.FallBack(source, because):
                self._stand_in_for = self._error(because)
                return self._serve_kept(source)
            case pipeline.GiveUp(because) | pipeline.Reject(because):
                raise self._error(because)
            case _:
                assert_never(step)

    def _look_in_cache(self) -> None:
        key = self._call.cache_key
        kept = self._tools.cache.get(key) if key else None
        route = self._route_of(kept.provider) if kept else None
        if kept is None or route is None or not self._is_readable(route, kept.response):
            return
        self._kept = (route, kept)
        now = self._clock.now()
        self._progress = Progress(
            policy=self._call.policy,
            routes=len(self._call.routes),
            deadline=self._progress.deadline,
            is_fresh=kept.is_fresh(now),
            fallbacks=frozenset({Source.STALE}),
        )

    def _route_of(self, provider: str) -> Route[T] | None:
        return next((route for route in self._call.routes if route.provider.name == provider), None)

    def _is_readable(self, route: Route[T], response: ApiResponse) -> bool:
        return route.provider.judge(self._call.operation, response).verdict is Verdict.OK

    def _admit(self, step: pipeline.Admit) -> None:
        self.release()
        admission = self._ask(self._call.routes[step.route], round(step.max_wait_s * 1_000_000))
        self._progress = self._progress.after_admission(step.route, admission)

    def _ask(self, route: Route[T], max_wait_us: int) -> Admission:
        """Ask whether an attempt may go, and hold what is granted until it is settled or released."""
        self._provider = route.provider.name
        admission = self._tools.state.admit(route.circuit, self._call.policy.admission, max_wait_us)
        match admission:
            case RefusedByCircuit():
                self._circuit_state = CircuitState.OPEN
            case RefusedByLimiter():
                self._rate_limited = True
            case Granted(is_probe=is_probe):
                self._held = (route, admission)
                self._circuit_state = CircuitState.HALF_OPEN if is_probe else CircuitState.CLOSED
        return admission

    def _wait(self, step: pipeline.Wait) -> None:
        if step.for_turn:
            self._limiter_wait_s += step.seconds
            self._rate_limited = True
        self._clock.sleep(step.seconds)
        self._progress = self._progress.after_wait()

    def _send(self, step: pipeline.Send) -> None:
        route = self._call.routes[step.route]
        request = route.provider.request(self._call.operation, self._call.params)
        attempt, judgement = self._exchange(route, request, step.number, step.timeout_s)
        is_our_own_cut = attempt.verdict is Verdict.TIMED_OUT and not step.is_telling
        self._settle(Settlement.NOTHING if is_our_own_cut else settlement_of(attempt.verdict), attempt)
        self._progress = self._progress.after_attempt(attempt, is_doubtful=judgement.is_doubtful)
        if attempt.verdict is not Verdict.OK:
            self._log(
                "attempt_failed", attempt=attempt.number, verdict=attempt.verdict, detail=attempt.detail
            )

    def _settle(self, settlement: Settlement, attempt: Attempt | None) -> None:
        """Tell the store how the attempt ended that is held, if any is."""
        if self._held is None:
            return
        (route, granted), self._held = self._held, None
        throttled = attempt is not None and attempt.verdict is Verdict.THROTTLED
        pause_s = (attempt.retry_after or 0.0) if attempt and throttled else 0.0
        settled = self._tools.state.settle(
            route.circuit,
            self._call.policy.admission,
            granted,
            settlement,
            pause_us=round(pause_s * 1_000_000),
        )
        if settled.opened:
            self._circuit_opened = True
            self._circuit_state = CircuitState.OPEN
            self._log("circuit_opened", failures=settled.state.breaker.failures)
        if settled.closed:
            self._circuit_state = CircuitState.CLOSED
            self._log("circuit_closed")

    def _serve_live(self) -> IntegrationResponse[T]:
        route = self._call.routes[self._progress.route]
        if self._response is None:
            raise RuntimeError("A live answer is served only after one came.")
        cache = self._call.policy.cache
        if cache and self._call.cache_key:
            self._tools.cache.set(
                self._call.cache_key, self._response, route.provider.name, cache.ttl_s, cache.stale_s
            )
        self._source = Source.MOCK if self._call.is_mock else Source.LIVE
        return IntegrationResponse(
            value=route.provider.read(self._call.operation, self._response),
            source=self._source,
            provider=route.provider.name,
            trace_id=self._call.trace_id,
            attempts=len(self._progress.attempts),
        )

    def _serve_kept(self, source: Source) -> IntegrationResponse[T]:
        if self._kept is None:
            raise RuntimeError("A kept answer is served only when one was found.")
        route, kept = self._kept
        self._provider = route.provider.name
        self._source = source
        return IntegrationResponse(
            value=route.provider.read(self._call.operation, kept.response),
            source=source,
            provider=route.provider.name,
            trace_id=self._call.trace_id,
            age_seconds=kept.age(self._clock.now()),
            attempts=len(self._progress.attempts),
            stale_because=str(self._stand_in_for) if self._stand_in_for else None,
        )

    def _error(self, because: Attempt | pipeline.Refusal) -> CallFailed | CallRejected:
        if isinstance(because, Attempt):
            return failure.failed(self._call, because)
        return failure.rejected(self._call, because, len(self._progress.attempts))

    def _log(self, event: str, **facts: object) -> None:
        log.warning(
            event,
            integration=self._call.integration,
            operation=self._call.operation,
            provider=self._provider,
            is_mock=self._call.is_mock,
            **facts,
        )


def _is_callers_own(error: BaseException) -> bool:
    """Whether the third party did its part, and only the caller asked for something that cannot be had."""
    return isinstance(error, CallError) and error.is_callers_own


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
