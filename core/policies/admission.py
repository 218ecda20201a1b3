"""May one attempt go to one provider, and what does its end change? Two pure functions that every store shares.

A store (`core.state`) only has to load a `ProviderState`, apply `admit` or `settle`, and save what comes back,
all in one atomic step. The Redis store says the same in Lua.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from core.model.health import CircuitState
from core.policies.circuit_breaker import BreakerPolicy, CircuitBreaker
from core.policies.rate_limit import HOUR_US, LimitPolicy, RateLimiter


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """What guards one provider. None switches a guard off."""

    breaker: BreakerPolicy | None = BreakerPolicy()
    limits: LimitPolicy | None = LimitPolicy()


@dataclass(frozen=True, slots=True)
class ProviderState:
    """What all processes share about one provider. Times are microseconds of the store's clock.

    A pause holds from `paused_at`, so that one that lies in the future (the clock was set back) holds nobody.
    """

    breaker: CircuitBreaker = CircuitBreaker()
    minute_full_at: int = 0
    hour_full_at: int = 0
    paused_at: int = 0
    paused_until: int = 0

    def pause_end(self, now: int) -> int:
        """When the pause that holds at `now` ends; 0 when none holds."""
        return self.paused_until if self.paused_at <= now < self.paused_until else 0


@dataclass(frozen=True, slots=True)
class Granted:
    """The attempt may go in `wait_us` microseconds: its tokens are taken, its probe (if it is one) is leased."""

    generation: int
    is_probe: bool = False
    wait_us: int = 0


@dataclass(frozen=True, slots=True)
class RefusedByCircuit:
    """The provider is left alone for another `retry_after_us`."""

    retry_after_us: int


@dataclass(frozen=True, slots=True)
class RefusedByLimiter:
    """The attempt's turn would come in `retry_after_us`, which is longer than it may wait. No token is taken."""

    retry_after_us: int


Admission = Granted | RefusedByCircuit | RefusedByLimiter


class Settlement(StrEnum):
    """What an attempt proved about its provider."""

    WELL = "well"
    ILL = "ill"
    NOTHING = "nothing"


def admit(
    state: ProviderState, policy: AdmissionPolicy, now: int, max_wait_us: int
) -> tuple[ProviderState, Admission]:
    """Decide whether an attempt may go at `now`, and what that changes.

    The breaker is asked first, so that an open circuit neither queues nor spends tokens; then both limits at
    once. `max_wait_us` is what the call's own deadline leaves; the policy's own maximum holds besides. A refusal
    changes nothing.
    """
    if policy.breaker and (left := state.breaker.refused_for(policy.breaker, now)):
        return state, RefusedByCircuit(left)
    wait = 0
    if policy.limits:
        patience = min(policy.limits.max_wait_us, max_wait_us)
        limiter = RateLimiter.of(
            policy.limits, state.minute_full_at, state.hour_full_at, state.pause_end(now)
        ).believable(now, policy.limits.max_wait_us)
        wait = limiter.wait_us(now)
        if wait > patience:
            return state, RefusedByLimiter(wait)
        limiter = limiter.acquire(now + wait)
        state = replace(state, minute_full_at=limiter.minute.full_at, hour_full_at=limiter.hour.full_at)
    is_probe = policy.breaker is not None and state.breaker.is_half_open(policy.breaker, now)
    if policy.breaker and is_probe:
        state = replace(state, breaker=state.breaker.attempt_reset(policy.breaker, now, now + wait))
    return state, Granted(state.breaker.generation, is_probe, wait)


def settle(
    state: ProviderState,
    policy: AdmissionPolicy,
    granted: Granted,
    settlement: Settlement,
    now: int,
    *,
    pause_us: int = 0,
) -> ProviderState:
    """What the end of an attempt changes.

    `pause_us` holds every process back for so long, because the provider asked for it; it is cut to an hour and
    never shortens a pause that holds already.
    """
    if pause_us > 0:
        end = max(state.pause_end(now), now + min(pause_us, HOUR_US))
        state = replace(state, paused_at=now, paused_until=end)
    if policy.breaker is None:
        return state
    breaker = _settled(state.breaker, policy.breaker, granted, settlement, now)
    return state if breaker is state.breaker else replace(state, breaker=breaker)


def _settled(
    breaker: CircuitBreaker, policy: BreakerPolicy, granted: Granted, settlement: Settlement, now: int
) -> CircuitBreaker:
    match settlement:
        case Settlement.WELL:
            return breaker.record_success(granted.generation)
        case Settlement.ILL:
            return breaker.record_failure(policy, granted.generation, now)
        case Settlement.NOTHING:
            return breaker.release_probe(granted.generation) if granted.is_probe else breaker


def circuit_state(state: ProviderState, policy: AdmissionPolicy, now: int) -> CircuitState:
    """What the circuit does with the next attempt. Without a breaker it is always closed."""
    return CircuitState.CLOSED if policy.breaker is None else state.breaker.state(policy.breaker, now)
