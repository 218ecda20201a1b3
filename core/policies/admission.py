"""May one attempt go to one provider, and what does its end change? Two pure functions that every store shares.

A store (`core.state`) only has to load a `ProviderState`, apply `admit` or `settle`, and save what comes back,
all in one atomic step. The Redis store says the same in Lua.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from core.model.calling import CallClass
from core.model.health import CircuitState
from core.policies.circuit_breaker import BreakerPolicy, CircuitBreaker
from core.policies.override import Override, OverrideMode
from core.policies.rate_limit import HOUR_US, Bookings, History, LimitPolicy, no_history
from core.policies.retry_budget import RetryBudget

_CHECK_DUE_US = 1_000_000


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """What guards one provider. None switches a guard off."""

    breaker: BreakerPolicy | None = BreakerPolicy()
    limits: LimitPolicy | None = LimitPolicy()
    budget: RetryBudget | None = RetryBudget()


class ProviderState(NamedTuple):
    """What all processes share about one provider. Times are microseconds of the store's clock.

    A pause holds from `paused_at`, so that one that lies in the future (the clock was set back) holds nobody.
    `retry_debt` is what is spent of the retry budget, in thousandths of a token.
    """

    breaker: CircuitBreaker = CircuitBreaker()
    booked: Bookings = Bookings()
    paused_at: int = 0
    paused_until: int = 0
    retry_debt: int = 0
    override: Override | None = None

    def pause_end(self, now: int) -> int:
        """When the pause that holds at `now` ends; 0 when none holds."""
        return self.paused_until if self.paused_at <= now < self.paused_until else 0

    def override_at(self, now: int) -> Override | None:
        """The operator's word that holds at `now`."""
        override = self.override
        return override if override and override.since <= now < override.until else None


class Ask(NamedTuple):
    """What an attempt wants. `patience_us` is the longest it may wait for its turn; `is_check` a health check."""

    patience_us: int = 0
    call_class: CallClass = CallClass.INTERACTIVE
    is_check: bool = False


class Granted(NamedTuple):
    """The attempt may go in `wait_us` microseconds: its tokens are taken, its probe (if it is one) is leased.

    `owes` is whether the store has to hear of it if it goes well; of a failure it always has to. `failures` in a row
    and what was booked (`seen`, None without limits) at the time `at` are what the decision saw; from the latter
    `RateLimiter.left` tells the tokens that were left. `is_reserved` is whether it goes by the reserved share.
    """

    generation: int
    is_probe: bool = False
    wait_us: int = 0
    owes: bool = False
    failures: int = 0
    is_reserved: bool = False
    seen: Bookings | None = None
    at: int = 0


class RefusedByCircuit(NamedTuple):
    """The provider is left alone for another `retry_after_us`.

    `wants_check` means that the circuit is half open and waits for a health check to be its probe. `forced_by` says
    who forced it open and why; None when the breaker opened by itself.
    """

    retry_after_us: int
    wants_check: bool = False
    forced_by: str | None = None


class RefusedByLimiter(NamedTuple):
    """The attempt's turn would come in `retry_after_us`, which is longer than it may wait. No token is taken.

    `seen` is what was booked at the time `at`, as in `Granted`.
    """

    retry_after_us: int
    seen: Bookings | None = None
    at: int = 0


Admission = Granted | RefusedByCircuit | RefusedByLimiter


class Settlement(StrEnum):
    """What an attempt proved about its provider."""

    WELL = "well"
    ILL = "ill"
    THROTTLED = "throttled"
    NOTHING = "nothing"


def admit(
    state: ProviderState,
    policy: AdmissionPolicy,
    ask: Ask,
    now: int,
    history: History = no_history,
) -> tuple[ProviderState, Admission]:
    """Decide whether an attempt may go at `now`, and what that changes.

    The breaker is asked first, so that an open circuit neither queues nor spends tokens; then both limits at
    once. The attempt's patience holds, and the policy's own maximum besides. A refusal changes nothing. When tokens
    are taken at `now + wait_us`, the store that remembers calls remembers that time.
    """
    breaker, booked, paused_at, paused_until, retry_debt, override = state
    is_probe, generation = False, breaker.generation
    if policy.breaker and (breaker.opened_at is not None or override):
        passage = _past_breaker(state, policy.breaker, ask, now)
        if isinstance(passage, RefusedByCircuit):
            return state, passage
        is_probe, generation = passage
    wait, is_reserved, seen = 0, False, None
    if policy.limits:
        limiter = policy.limits.limiter
        start = max(now, state.pause_end(now)) if paused_until else now
        turn, is_reserved = limiter.turn(booked, start, ask.call_class, history)
        if turn:
            booked = limiter.believable(booked, now, history)
            turn, is_reserved = limiter.turn(booked, start, ask.call_class, history)
        wait = start - now + turn
        if wait and wait > min(limiter.max_wait_us, ask.patience_us):
            return state, RefusedByLimiter(wait, booked, now)
        seen = booked
        booked = limiter.acquire(booked, start + turn, is_reserved=is_reserved)
    elif paused_until:
        # No limits of our own; what the provider asked for holds all the same.
        wait = max(0, state.pause_end(now) - now)
        if wait and wait > ask.patience_us:
            return state, RefusedByLimiter(wait, at=now)
    if policy.breaker and is_probe:
        breaker = breaker.attempt_reset(policy.breaker, now, now + wait)
        generation = breaker.generation
    owes = is_probe or breaker.failures > 0 or retry_debt > 0
    if not owes and policy.breaker:
        owes = policy.breaker.looks_at_shares
    after = ProviderState(breaker, booked, paused_at, paused_until, retry_debt, override)
    return after, Granted(generation, is_probe, wait, owes, breaker.failures, is_reserved, seen, now)


_UNCOUNTED = -1
"""The generation of an attempt that a forced or shadowed circuit let through: what comes of it counts for nothing."""


def _past_breaker(
    state: ProviderState, policy: BreakerPolicy, ask: Ask, now: int
) -> RefusedByCircuit | tuple[bool, int]:
    """Why an attempt is refused; or else whether it is a probe, and the generation that it belongs to."""
    breaker = state.breaker
    override = state.override_at(now)
    if override and override.mode is OverrideMode.FORCED_OPEN:
        forced_by = f"{override.by}: {override.reason}"
        return RefusedByCircuit(override.until - now, forced_by=forced_by)
    if override and override.mode is OverrideMode.FORCED_CLOSED:
        return False, _UNCOUNTED
    left = breaker.refused_for(policy, now)
    is_probe = breaker.opened_at is not None and not left
    wants_check = is_probe and policy.probes_by_check and not ask.is_check
    if not left and not wants_check:
        return is_probe, breaker.generation
    if override:
        return False, _UNCOUNTED
    return RefusedByCircuit(left or _CHECK_DUE_US, wants_check)


def settle(
    state: ProviderState,
    policy: AdmissionPolicy,
    granted: Granted,
    settlement: Settlement,
    now: int,
    *,
    pause_us: int = 0,
    is_slow: bool = False,
) -> ProviderState:
    """What the end of an attempt changes.

    `pause_us` holds every process back for so long, because the provider asked for it; it is cut to an hour and
    never shortens a pause that holds already. A circuit that closes begins with a full retry budget.
    """
    breaker, booked, paused_at, paused_until, debt, override = state
    rule, budget = policy.breaker, policy.budget
    if pause_us > 0:
        paused_at, paused_until = now, max(state.pause_end(now), now + min(pause_us, HOUR_US))
    match settlement:
        case Settlement.WELL:
            debt = budget.after_success(debt) if budget else debt
            if rule:
                breaker = breaker.record_success(rule, granted.generation, now, is_slow=is_slow)
        case Settlement.ILL:
            debt = budget.after_failure(debt) if budget else debt
            if rule:
                breaker = breaker.record_failure(rule, granted.generation, now, is_slow=is_slow)
        case Settlement.THROTTLED:
            debt = budget.after_failure(debt) if budget else debt
            breaker = breaker.release_probe(granted.generation) if granted.is_probe else breaker
        case Settlement.NOTHING:
            breaker = breaker.release_probe(granted.generation) if granted.is_probe else breaker
    if breaker.opened_at is None and state.breaker.opened_at is not None:
        debt = 0
    after = ProviderState(breaker, booked, paused_at, paused_until, debt, override)
    return state if after == state else after


def may_retry(state: ProviderState, policy: AdmissionPolicy) -> bool:
    """Whether the retry budget has room for one more retry."""
    return policy.budget is None or policy.budget.allows(state.retry_debt)


def circuit_state(state: ProviderState, policy: AdmissionPolicy, now: int) -> CircuitState:
    """What the circuit does with the next attempt. Without a breaker it is always closed."""
    if policy.breaker is None:
        return CircuitState.CLOSED
    override = state.override_at(now)
    if override and override.mode is OverrideMode.FORCED_OPEN:
        return CircuitState.OPEN
    if override and override.mode is OverrideMode.FORCED_CLOSED:
        return CircuitState.CLOSED
    return state.breaker.state(policy.breaker, now)


def refused_for(state: ProviderState, policy: AdmissionPolicy, now: int) -> int:
    """Microseconds for which the circuit refuses every attempt yet; 0 when it does not."""
    if policy.breaker is None:
        return 0
    override = state.override_at(now)
    if override is None:
        return state.breaker.refused_for(policy.breaker, now)
    return override.until - now if override.mode is OverrideMode.FORCED_OPEN else 0
