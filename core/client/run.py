"""One call in flight: what each effect of `core.policies.pipeline.flow` means, short of waiting for it.

How to wait is the drivers' business (`core.client.drive`), synchronously or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import structlog

from core.client import failure
from core.client.background import Background
from core.client.bulkhead import Bulkhead
from core.client.call import Call, Operation, Route
from core.client.flights import Blame, Flights, Landed
from core.clock import Chance, Clock
from core.errors import CallError
from core.model.answer import IntegrationResponse, Source
from core.model.call_record import HEALTH_CHECK, Attempt, EndedCall
from core.model.calling import CallClass, Safety
from core.model.decision import CacheSight, Why
from core.model.health import CircuitState
from core.model.identity import Sequence, new_trace_id
from core.model.message import ApiRequest, ApiResponse
from core.model.verdict import Verdict
from core.policies import pipeline
from core.policies.admission import (
    AdmissionPolicy,
    Ask,
    Granted,
    RefusedByCircuit,
    RefusedByLimiter,
    Settlement,
)
from core.policies.confirmation import paused_since, refused_since
from core.policies.pipeline import (
    Admit,
    Confirm,
    Enter,
    Errand,
    Join,
    Joined,
    Look,
    Plan,
    Send,
    Settle,
    Sleep,
    Spawn,
    Substitute,
)
from core.policies.timeout import fair_time
from core.redaction import Redactor
from core.state import base
from core.state.base import Ended, FailedElsewhere, FetchedElsewhere, Opening, StateStore, Wanted
from core.state.cache import CachedAnswer, CacheService
from core.transports.base import TransportFault

T = TypeVar("T")
log = structlog.get_logger()

_MICROSECONDS = 1_000_000
_FAILURE_SHARED_S = 1.0


@dataclass(frozen=True, slots=True)
class Tools:
    """What calls are carried out with: one set serves all integrations and all threads of a process."""

    state: StateStore
    cache: CacheService
    clock: Clock
    chance: Chance
    redactor: Redactor
    sequence: Sequence
    record: Callable[[EndedCall], None]
    flights: Flights[object]
    bulkhead: Bulkhead
    background: Background


class Sight(NamedTuple):
    """What one question to the state store saw, and when (monotonic seconds)."""

    provider: str
    at: float
    outcome: base.Outcome


Question = tuple[str, AdmissionPolicy, Ask, Wanted | None]
"""What the store is asked (`core.state.base.StateStore.open`)."""


class Run(Generic[T]):
    """One call in flight: how far it is, and what its record will say."""

    def __init__(
        self, tools: Tools, call: Call[T], spawn: Callable[[Call[T], Route[T] | None], None]
    ) -> None:
        """`spawn` has a call made behind the caller's back: a health check of the route, if one is given."""
        self.tools = tools
        self.call = call
        self.operation: Operation[T] = call.operation
        self._spawn_call = spawn
        self._clock = tools.clock
        self.started = self.now = tools.clock.monotonic()
        self.number = tools.sequence.next()
        self.idempotency_key = call.idempotency_key
        if self.idempotency_key is None and self.operation.safety is Safety.IDEMPOTENT:
            self.idempotency_key = new_trace_id()

    # What most calls never change is kept once, in the class.
    ended = 0.0
    sights: tuple[Sight, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    route: Route[T] | None = None
    request: ApiRequest | None = None
    response: ApiResponse | None = None
    provider: str | None = None
    source: Source | None = None
    why = Why.NOT_ACCEPTABLE
    blame: Blame | None = None
    cache_sight = CacheSight.NOT_LOOKED
    cache_age_s: float | None = None
    circuit_state = CircuitState.CLOSED
    has_opened = False
    limiter_wait_s = 0.0
    is_rate_limited = False
    kept: tuple[Route[T], CachedAnswer] | None = None
    substitute: tuple[Source, T] | None = None
    held: tuple[Route[T], Granted] | None = None
    _is_in = _may_lead = False
    has_lease = False
    error: CallError | None = None
    sending: tuple[Send, float] | None = None
    answer: IntegrationResponse[T] | None = None
    shared: Landed[object] = Landed()
    _has_entered = _has_joined = _has_seen = False
    _flight: Future[Landed[object]] | None = None
    _opening: Opening | None = None
    _attempted: Send | None = None

    def fail(self, error: BaseException) -> None:
        """Note the error that ends the call."""
        if isinstance(error, CallError):
            self.error = error
            why = self.why
        else:
            is_defect = isinstance(error, Exception) and not isinstance(error, asyncio.CancelledError)
            why = Why.DEFECT if is_defect else Why.INTERRUPTED
        self.blame_on(error, why)

    def close(self) -> None:
        """Give back all that is held and tell those who wait, however the call ended. Never blocks."""
        self.ended = self._clock.monotonic()
        try:
            if self.sending is not None:
                self._note_unanswered(*self.sending)
            if self.held is not None:
                self._release()
        finally:
            try:
                if self._has_entered:
                    self.tools.bulkhead.leave(self.operation.integration, self)
            finally:
                self._land()

    def _land(self) -> None:
        key = self.call.cache_key
        # An error holds the frames that it came through, and they this run: nobody but the caller is to keep it.
        error, self.error = self.error, None
        if key is None:
            return
        try:
            if self._may_lead:
                self.tools.flights.land(self._flight_key(key), self, self.answer, error, self.blame)
        finally:
            if self.has_lease:
                left = failure.packed(error) if error else None
                shared_us = _us(_FAILURE_SHARED_S * (1 + self.tools.chance()) / 2)
                self.tools.state.later(base.Release(key, self.owner(), left, shared_us))

    def _note_unanswered(self, send: Send, started: float) -> None:
        """Whoever sent a request and did not wait for its answer has sent it all the same."""
        route = self.operation.routes[send.route]
        unanswered = Attempt(
            route.provider.name,
            send.number,
            (started - self.started) * 1000,
            (self.ended - started) * 1000,
            Verdict.DISCONNECTED,
            detail="we did not wait for the answer",
        )
        self.attempts = (*self.attempts, unanswered)

    def straight_question(self, *, in_loop: bool) -> Question | None:
        """Enter and join, and what to ask the store first; None when this call will not go straight.

        Most calls go straight: nobody fetches the same, no answer is kept, the store grants, the provider answers.
        `core.policies.pipeline.flow` would take them the same way (the tests hold the two side by side), and costs more
        than all the rest of the call; so it is begun only when something else happens, and is told what has been done.
        """
        operation, key = self.operation, self.call.cache_key
        if self.call.refreshes:
            return None
        self._has_entered = True
        self._is_in = self.tools.bulkhead.enter(operation.integration, self, operation.policy.max_in_flight)
        if not self._is_in:
            return None
        if key is not None:
            self._flight = self._flying(in_loop=in_loop)
            self._has_joined = True
            if self._flight is not None:
                return None
        return self._asked(0, operation.policy.deadline_s - self._kept_for_others_s)

    def straight_request(self, opening: Opening) -> Send | None:
        """The attempt that follows from what the store answered; None when something else does."""
        self._opening = opening
        granted = opening.outcome
        if type(granted) is not Granted or granted.wait_us or opening.kept is not None:
            self._refuse_straight(opening)
            return None
        self.now = self._clock.monotonic()
        policy = self.operation.policy
        if self.now - self.started + policy.timeout_s > policy.deadline_s - self._kept_for_others_s:
            return None
        if self.call.cache_key is not None:
            self.tools.cache.missed()
            self.cache_sight = CacheSight.NOTHING
        self.saw(self.operation.routes[0], granted)
        self._has_seen = True
        return Send(0, 1, policy.timeout_s)

    def _refuse_straight(self, opening: Opening) -> None:
        """End the call here when its only provider is refused, and nothing stands in. Raises the refusal."""
        refusal, operation = opening.outcome, self.operation
        if opening.kept is not None or len(operation.routes) > 1 or operation.substitute:
            return
        if isinstance(refusal, RefusedByCircuit | RefusedByLimiter) and not (
            isinstance(refusal, RefusedByCircuit) and refusal.wants_check
        ):
            if self.call.cache_key is not None:
                self.tools.cache.missed()
                self.cache_sight = CacheSight.NOTHING
            self.saw(operation.routes[0], refusal)
            self.why = Why.REFUSED
            raise failure.rejected(self.call, refusal, 0)

    def went_straight(self, send: Send) -> bool:
        """Whether the call ends here, with the answer that came."""
        granted = self.held[1] if self.held else None
        if send.attempt.verdict is Verdict.OK and granted and not granted.owes and not send.pause_s:
            self.held = None
            self.why = Why.ANSWERED
            return True
        self._attempted = send
        return False

    def opening(self) -> Opening | None:
        """What the store has already answered, once."""
        opening, self._opening = self._opening, None
        return opening

    def has_sent(self, send: Send) -> bool:
        """Whether this attempt has already been made; then `send` says what it came to."""
        attempted, self._attempted = self._attempted, None
        if attempted is None:
            return False
        send.attempt = attempted.attempt
        send.is_doubtful, send.pause_s = attempted.is_doubtful, attempted.pause_s
        return True

    def next_flight(self, *, in_loop: bool) -> Future[Landed[object]] | None:
        """The call that fetches the same; None when there is none, and this one leads."""
        if self._has_joined:
            self._has_joined = False
            return self._flight
        return self._flying(in_loop=in_loop)

    @property
    def _kept_for_others_s(self) -> float:
        """Seconds of the deadline that the routes after the first need."""
        routes, policy = len(self.operation.routes), self.operation.policy
        return fair_time(policy.timeout_s, policy.deadline_s, routes) * (routes - 1) if routes > 1 else 0.0

    def plan(self) -> Plan:
        operation = self.operation
        return Plan(
            operation.policy,
            len(operation.routes),
            operation.safety,
            self.call.cache_key is not None,
            operation.substitute is not None,
            self.call.refreshes,
        )

    def owner(self) -> str:
        return f"{self.call.trace_id}{self.number}"

    def question(self, admit: Admit) -> Question:
        """What to ask the store for this effect. Whatever was granted before and never used is given back."""
        if self.held:
            self._release()
        return self._asked(
            admit.route, admit.patience_s, has_waited=admit.has_waited, refreshes=admit.refreshes
        )

    def _asked(
        self, route: int, patience_s: float, *, has_waited: bool = False, refreshes: bool = False
    ) -> Question:
        operation, key = self.operation, self.call.cache_key
        policy, circuit = operation.policy, operation.routes[route].circuit
        ask = Ask(int(patience_s * _MICROSECONDS), self.call.call_class)
        if key is None:
            return circuit, policy.admission, ask, None
        lease_us = int((policy.timeout_s + 1) * _MICROSECONDS)
        return circuit, policy.admission, ask, Wanted(key, self.owner(), lease_us, has_waited, refreshes)

    def opened(self, admit: Admit, opening: Opening) -> None:
        """Take in what the store answered."""
        if self.call.cache_key is not None:
            admit.kept = self._look_at(opening.kept, is_fresh=opening.outcome is None)
        outcome = opening.outcome
        if outcome is None:
            return
        if self._has_seen:
            self._has_seen = False
        else:
            self.saw(self.operation.routes[admit.route], outcome)
        match outcome:
            case FetchedElsewhere(left_us):
                admit.elsewhere_s = left_us / _MICROSECONDS
            case FailedElsewhere(left_behind):
                admit.has_failed_elsewhere = True
                self.shared = Landed(error=failure.unpacked(self.call, left_behind))
            case _:
                admit.admission = outcome

    def saw(self, route: Route[T], outcome: base.Outcome | None) -> None:
        """Note what was answered, and hold what was granted until it is settled or released."""
        if outcome is None:
            return
        self.provider = route.provider.name
        self.sights = (*self.sights, Sight(self.provider, self.now, outcome))
        match outcome:
            case Granted():
                self.held = (route, outcome)
                self.has_lease = self.call.cache_key is not None
                self.circuit_state = CircuitState.HALF_OPEN if outcome.is_probe else CircuitState.CLOSED
            case RefusedByCircuit():
                self.circuit_state = CircuitState.HALF_OPEN if outcome.wants_check else CircuitState.OPEN
            case RefusedByLimiter():
                self.is_rate_limited = True
            case FetchedElsewhere() | FailedElsewhere():
                pass

    def _look_at(self, kept: bytes | None, *, is_fresh: bool) -> pipeline.Kept | None:
        """What of a kept answer can be used. That there is no such thing is an answer only as long as it is fresh."""
        return self._usable(self.tools.cache.unpack(kept, is_fresh=is_fresh), is_fresh=is_fresh)

    def _usable(self, found: CachedAnswer | None, *, is_fresh: bool) -> pipeline.Kept | None:
        self.kept = None
        if found is None:
            self.cache_sight = CacheSight.NOTHING
            return None
        route = next((each for each in self.operation.routes if each.provider.name == found.provider), None)
        verdict = route and route.provider.judge(self.operation.name, found.response).verdict
        if route is None or not (verdict is Verdict.OK or (verdict is Verdict.NOT_FOUND and is_fresh)):
            self.cache_sight = CacheSight.NOTHING
            return None
        self.kept = (route, found)
        now = self._clock.now()
        self.cache_age_s = found.age(now)
        is_stale = not (is_fresh and found.is_fresh(now))
        self.cache_sight = CacheSight.STALE if is_stale else CacheSight.FRESH
        return pipeline.Kept(self.cache_age_s, is_stale)

    def at_once(self, effect: Enter | Spawn | Substitute) -> None:
        """The effects that wait for nothing."""
        match effect:
            case Enter():
                if not self._has_entered:
                    self._has_entered = True
                    limit = self.operation.policy.max_in_flight
                    self._is_in = self.tools.bulkhead.enter(self.operation.integration, self, limit)
                effect.is_in = self._is_in
            case Spawn(errand=Errand.REFRESH):
                refresh = self.call._replace(refreshes=True)
                if refresh.cache_key and not self.tools.flights.is_under_way(_refresh_of(refresh.cache_key)):
                    self._spawn_call(refresh, None)
            case Substitute():
                if self.operation.substitute:
                    self.substitute = self.operation.substitute(self.call.params)
                    effect.source = self.substitute and self.substitute[0]
            case Spawn():
                check = self.operation._replace(name=HEALTH_CHECK)
                call = self.call._replace(operation=check, params={}, cache_key=None)
                self._spawn_call(call, self.operation.routes[effect.route])

    def look(self, look: Look, found: CachedAnswer | None) -> None:
        """Take in what was found in the cache."""
        look.kept = self._usable(found, is_fresh=found is not None and found.is_fresh(self._clock.now()))

    def confirm(self, confirm: Confirm, snapshot: base.Snapshot) -> None:
        """See whether what was granted before the wait still holds."""
        if self.held is None:
            raise RuntimeError("Only what was granted is confirmed.")
        route, granted = self.held
        policy = self.operation.policy.admission
        confirm.pause_s = paused_since(snapshot.state, snapshot.now) / _MICROSECONDS
        confirm.refusal = refused_since(snapshot.state, policy, granted, snapshot.now)
        if confirm.refusal:
            self.sights = (*self.sights, Sight(route.provider.name, self.now, confirm.refusal))
            self.circuit_state = CircuitState.OPEN

    def wait_of(self, sleep: Sleep) -> float:
        seconds = sleep.until - self.now
        if sleep.for_turn:
            self.limiter_wait_s += seconds
            self.is_rate_limited = True
        return seconds

    def _flying(self, *, in_loop: bool = False) -> Future[Landed[object]] | None:
        """The call that fetches the same; None when this one leads."""
        key = self.call.cache_key
        if key is None:
            return None
        self._may_lead = True
        flying = self.tools.flights.join(self._flight_key(key), self)
        if flying is None:
            return None
        self._may_lead = False
        if not in_loop and _is_in_loop():
            # Its leader may need the event loop that this thread would hold up.
            return None
        return flying

    def _flight_key(self, key: str) -> str:
        """A refresh is a flight of its own: those who may have the old answer at once do not wait for it.

        And nobody waits for batch work, which waits for its turn behind everybody.
        """
        if self.call.refreshes:
            return _refresh_of(key)
        return key if self.call.call_class is CallClass.INTERACTIVE else f"{key} batch"

    def shares_end(self, join: Join, landed: Landed[object]) -> bool:
        """Whether the flight landed with an end to share. One that was interrupted is flown again."""
        if landed.answer is None and landed.error is None:
            return False
        self.shared = landed
        join.outcome = Joined.SHARES
        return True

    def request_to(self, route: Route[T]) -> ApiRequest:
        return route.provider.request(
            self.operation.name, self.call.params, idempotency_key=self.idempotency_key
        )

    def circuit_of(self, route: int) -> str:
        return self.operation.routes[route].circuit

    def begin_sending(self, send: Send, route: Route[T], request: ApiRequest) -> float:
        """Note that a request goes out, and when: it is on record whether or not anybody waits for its answer."""
        self.route, self.request, self.response = route, request, None
        started = self._clock.monotonic()
        self.sending = (send, started)
        return started

    def sent(
        self,
        send: Send,
        route: Route[T],
        outcome: ApiResponse | TransportFault,
        started: float,
    ) -> None:
        """Judge what came back. Never raises for what the provider does."""
        if isinstance(outcome, TransportFault):
            self.response = None
            verdict, detail, status = outcome.verdict, outcome.detail, None
            retry_after, may_have_arrived = None, outcome.may_have_arrived
        else:
            self.response = outcome
            judgement = route.provider.judge(self.operation.name, outcome)
            verdict, detail, status = judgement.verdict, judgement.detail, outcome.status
            retry_after = judgement.retry_after
            may_have_arrived = not (judgement.nothing_accepted or verdict in _NOTHING_ACCEPTED)
            send.is_doubtful = judgement.is_doubtful
            send.pause_s = judgement.pause_s or 0.0
        if verdict is Verdict.THROTTLED and retry_after:
            send.pause_s = max(send.pause_s, retry_after)
        ended = self._clock.monotonic()
        send.attempt = Attempt(
            route.provider.name,
            send.number,
            (started - self.started) * 1000,
            (ended - started) * 1000,
            verdict,
            status,
            detail,
            retry_after,
            may_have_arrived,
            send.is_doubtful,
            send.pause_s,
        )
        self.attempts = (*self.attempts, send.attempt)
        self.sending = None

    def clean(self, attempt: Attempt) -> Attempt:
        """The attempt without what must not be told: its detail may quote a secret."""
        return (
            attempt._replace(detail=self.tools.redactor.text(attempt.detail)) if attempt.detail else attempt
        )

    def settlement(self, settle: Settle) -> tuple[str, AdmissionPolicy, Ended] | None:
        """What to tell the store at once; None when it is told behind the caller's back."""
        if self.held is None:
            raise RuntimeError("Only an attempt that was granted is settled.")
        route, granted = self.held
        ended = Ended(granted, settle.settlement, _us(settle.pause_s), settle.is_slow)
        policy = self.operation.policy.admission
        if settle.behind:
            self.held = None
            self.tools.state.later(base.Settle(route.circuit, policy, ended))
            return None
        return route.circuit, policy, ended

    def take(self, settle: Settle, settled: base.Settled) -> None:
        self.held = None
        settle.has_opened, settle.may_retry = settled.opened, settled.may_retry
        self.settled(settled)

    def settled(self, settled: base.Settled) -> None:
        if settled.opened:
            self.has_opened = True
            self.circuit_state = CircuitState.OPEN
            self._log("circuit_opened", failures=settled.state.breaker.failures)
        if settled.closed:
            self.circuit_state = CircuitState.CLOSED
            self._log("circuit_closed")

    def _release(self) -> None:
        """Give back what was granted: an attempt that never went, or went well enough that nobody need hear of it."""
        if self.held is None:
            return
        (route, granted), self.held = self.held, None
        if granted.is_probe:
            policy = self.operation.policy.admission
            ended = Ended(granted, Settlement.NOTHING)
            self.tools.state.later(base.Settle(route.circuit, policy, ended))

    def blame_on(self, error: BaseException, why: Why) -> None:
        """Keep what is to be said of an error, and not the error: it holds the frames that it came through."""
        self.why = why
        is_callers_own = isinstance(error, CallError) and error.is_callers_own
        self.blame = Blame(type(error).__name__, str(error), is_callers_own)

    def _log(self, event: str, **facts: object) -> None:
        log.warning(
            event,
            integration=self.operation.integration,
            operation=self.operation.name,
            provider=self.provider,
            is_mock=self.operation.is_mock,
            **facts,
        )


_NOTHING_ACCEPTED = frozenset(
    {Verdict.NOT_FOUND, Verdict.REQUEST_REFUSED, Verdict.CREDENTIALS_REFUSED, Verdict.THROTTLED}
)


def _refresh_of(key: str) -> str:
    return f"{key} refresh"


def _us(seconds: float) -> int:
    return round(seconds * _MICROSECONDS)


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
