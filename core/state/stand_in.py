"""What decides in a process while the shared store is away: its own memory, at its share of the limits.

The limits are divided by the number of processes that shared the store when it was last reached, so that all together
stay within them; where there are more processes than calls, only the first ones call. It begins where the shared
store ended: a circuit that was refused stays so, and the buckets begin empty and booked as far ahead as a call may
wait, because another process may have taken the last token a moment ago. (A process that was alone knows what it
took, and begins with the rest.) So nothing goes beyond a limit when the store is lost. When it comes back, it knows
nothing of what went meanwhile, and may let one burst more through. A store that comes back and is lost again before
it was of any use changes nothing: what stood in goes on with what it knows. The mode `exact`, whose history cannot be
divided, goes by `any_window` meanwhile, and may reach its limit once more.

What this one grants is told apart by its generation, so that neither store ever counts what the other granted.
"""

from __future__ import annotations

from dataclasses import replace
from threading import Lock
from typing import Final, NamedTuple

from core.model.calling import LimitMode
from core.policies.admission import (
    AdmissionPolicy,
    Ask,
    Granted,
    ProviderState,
    RefusedByCircuit,
    RefusedByLimiter,
    may_retry,
)
from core.policies.circuit_breaker import CircuitBreaker
from core.policies.override import Override, OverrideMode
from core.policies.rate_limit import Bookings, LimitPolicy, RateLimiter, TokenBucket
from core.state.base import Ended, Opening, Outcome, Settle, Settled, Wanted
from core.state.memory import MemoryState
from core.state.presence import Presence

_MARK: Final = -3
"""A store's own generations begin at -1. Those of a stand-in are counted down from here, so they begin at -2."""

_NO_SHARE_US: Final = 60_000_000
_POLICIES_REMEMBERED: Final = 1000


class _Refused(NamedTuple):
    refusal: RefusedByCircuit
    at: int


class StandIn:
    """A process's own memory, which takes over from the shared store when that is lost."""

    def __init__(self, memory: MemoryState, presence: Presence) -> None:
        self._memory = memory
        self._presence = presence
        self._lock = Lock()
        self._granted: dict[str, Granted] = {}
        self._refused: dict[str, _Refused] = {}
        self._taken_over: set[str] = set()
        self._is_used = True
        self._policies: dict[int, tuple[AdmissionPolicy, AdmissionPolicy | None]] = {}

    def hear(self, circuit: str, outcome: Outcome | None) -> None:
        """Remember what the shared store said of a circuit: it may have been its last word."""
        if type(outcome) is Granted:
            self._is_used = True
            self._granted[circuit] = outcome
            if circuit in self._refused:
                self._refused.pop(circuit, None)
        elif type(outcome) is RefusedByCircuit and not outcome.wants_check:
            self._is_used = True
            self._refused[circuit] = _Refused(outcome, self._now())

    def note_use(self) -> None:
        """The shared store has been there for long enough that others may have used it."""
        self._is_used = True

    def take_over(self) -> None:
        """The shared store is lost: begin anew with every circuit, unless the store was not used since the last time."""
        with self._lock:
            if self._is_used:
                self._taken_over.clear()
            self._is_used = False
            self._policies.clear()

    def open(self, circuit: str, policy: AdmissionPolicy, ask: Ask, wanted: Wanted | None) -> Opening:
        """As `StateStore.open`, at this process's share."""
        own = self._own(policy)
        if own is None:
            # Only what is kept can be had.
            kept = None if wanted is None else self._memory.read(wanted.key)
            return Opening(kept, RefusedByLimiter(_NO_SHARE_US))
        if circuit not in self._taken_over:
            self._begin(circuit, policy, own)
        kept, outcome = self._memory.open(circuit, own, ask, wanted)
        if type(outcome) is Granted:
            outcome = outcome._replace(generation=_MARK - outcome.generation)
        return Opening(kept, outcome)

    @staticmethod
    def has_granted(granted: Granted) -> bool:
        """Whether it was a stand-in that granted this."""
        return granted.generation <= _MARK + 1

    def settle(self, circuit: str, policy: AdmissionPolicy, ended: Ended) -> Settled:
        """As `StateStore.settle`, for what a stand-in has granted."""
        return self._memory.settle(circuit, policy, _unmarked(ended))

    def settle_later(self, late: Settle) -> None:
        """As `settle`, where nobody waits for what comes of it."""
        self._memory.later(late._replace(ended=_unmarked(late.ended)))

    def uncounted(self, circuit: str, policy: AdmissionPolicy) -> Settled:
        """What is known here, for an attempt that the shared store granted and whose end it does not hear of."""
        state = self._memory.peek(circuit).state
        return Settled(state, may_retry=may_retry(state, policy))

    def _begin(self, circuit: str, policy: AdmissionPolicy, own: AdmissionPolicy) -> None:
        """Take over a circuit as the shared store left it, once."""
        with self._lock:
            if circuit in self._taken_over:
                return
            now = self._now()
            state = self._memory.peek(circuit).state
            # Its last word counts once: what is learnt here afterwards is newer.
            granted, refused = self._granted.pop(circuit, None), self._refused.pop(circuit, None)
            if policy.limits and own.limits:
                if self._presence.processes > 1:
                    state = state._replace(booked=_nothing_left(own.limits.limiter, now))
                elif granted is not None:
                    state = state._replace(booked=_what_is_left(policy.limits, own.limits, granted, now))
            if granted is not None or refused is not None:
                state = state._replace(breaker=CircuitBreaker(generation=state.breaker.generation + 1))
            if refused is not None:
                state = _still_refused(state, policy, refused, now)
            self._memory.assume(circuit, state)
            self._taken_over.add(circuit)

    def _own(self, policy: AdmissionPolicy) -> AdmissionPolicy | None:
        """This process's share of a policy; None when it has none."""
        remembered = self._policies.get(id(policy))
        if remembered is not None and remembered[0] is policy:
            return remembered[1]
        own = share_of(policy, self._presence.processes, self._presence.place)
        if len(self._policies) >= _POLICIES_REMEMBERED:
            self._policies.clear()
        self._policies[id(policy)] = policy, own
        return own

    def _now(self) -> int:
        return self._memory.peek("").now


def share_of(policy: AdmissionPolicy, processes: int, place: int) -> AdmissionPolicy | None:
    """What the process at this place (from 0) of so many may do alone; None when it may not call at all."""
    limits = policy.limits
    if limits is None:
        return policy
    callers = min(processes, limits.per_minute, limits.per_hour)
    return replace(policy, limits=_divided(limits, callers)) if place < callers else None


def _divided(limits: LimitPolicy, callers: int) -> LimitPolicy:
    """The limits of one of so many callers, who begin with empty buckets right after a burst of them all together."""
    mode = LimitMode.ANY_WINDOW if limits.mode is LimitMode.EXACT else limits.mode
    minute, hour = limits.per_minute // callers, limits.per_hour // callers
    while True:
        part = replace(limits, per_minute=minute, per_hour=hour, mode=mode)
        if callers == 1 or mode is LimitMode.BUCKET:
            return part
        most_minute, most_hour = (
            _burst(whole) + callers * _refills(own)
            for whole, own in zip(_windows(limits.limiter), _windows(part.limiter), strict=True)
        )
        if most_minute > limits.per_minute and minute > 1:
            minute -= 1
        elif most_hour > limits.per_hour and hour > 1:
            hour -= 1
        else:
            return part


def _windows(limiter: RateLimiter) -> tuple[tuple[TokenBucket, ...], tuple[TokenBucket, ...]]:
    """The buckets of the minute, and those of the hour."""
    shares = (limiter.shared, limiter.reserved) if limiter.reserved else (limiter.shared,)
    return tuple(share.minute for share in shares), tuple(share.hour for share in shares)


def _burst(buckets: tuple[TokenBucket, ...]) -> int:
    return sum(bucket.capacity for bucket in buckets)


def _refills(buckets: tuple[TokenBucket, ...]) -> int:
    """How many calls can go in a window after the buckets were empty, rounded up."""
    return sum(bucket.limit - bucket.capacity + 1 for bucket in buckets)


def _nothing_left(limiter: RateLimiter, now: int) -> Bookings:
    """Empty buckets, booked as far ahead as calls may wait."""
    reserved = limiter.reserved or limiter.shared
    return Bookings(
        *(
            now + limiter.max_wait_us + bucket.capacity * bucket.interval_us
            for share in (limiter.shared, reserved)
            for bucket in (share.minute, share.hour)
        )
    )


def _what_is_left(whole: LimitPolicy, own: LimitPolicy, last: Granted, now: int) -> Bookings:
    """What the shared store had booked when it last granted something, as if no time had passed since."""
    if last.seen is None:
        return Bookings()
    booked = whole.limiter.acquire(last.seen, last.at + last.wait_us, is_reserved=last.is_reserved)
    emptiest = _nothing_left(own.limiter, now)
    return Bookings(
        *(
            min(now + max(0, full_at - last.at), empty)
            for full_at, empty in zip(booked[:4], emptiest[:4], strict=True)
        )
    )


def _still_refused(
    state: ProviderState, policy: AdmissionPolicy, refused: _Refused, now: int
) -> ProviderState:
    until = refused.at + refused.refusal.retry_after_us
    if refused.refusal.forced_by is not None:
        by, _, reason = refused.refusal.forced_by.partition(": ")
        return state._replace(override=Override(OverrideMode.FORCED_OPEN, until, by, reason, refused.at))
    if policy.breaker is None:
        return state
    opened_at = min(now, until - policy.breaker.recovery_us)
    return state._replace(breaker=state.breaker._replace(opened_at=opened_at))


def _unmarked(ended: Ended) -> Ended:
    granted = ended.granted._replace(generation=_MARK - ended.granted.generation)
    return ended._replace(granted=granted)
