"""The circuit breaker of one provider: leave it alone while it is ill, try one probe after a while.

    closed ── `failure_threshold` failures in a row ──▶ open
    open ──── `recovery_us` later ────────────────────▶ half open: one probe passes, the rest are refused
    half open ── the probe succeeds ──▶ closed
    half open ── the probe fails ─────▶ open again

The breaker is a value: each method returns what it becomes. `generation` grows whenever it opens, closes or
sends a probe, so that the late result of an attempt admitted before then changes nothing. A probe is a lease:
when its caller dies, the next one may probe after `probe_lease_us`.

Times are integer microseconds of one clock, which may be set back: an opening that lies in the future counts as
long ago, so that a breaker never stays open for want of a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.model.health import CircuitState

LONGEST_WAIT_US = 300_000_000
"""The longest that a probe may wait for its turn before its lease begins; no configuration allows more."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a circuit opens and when it tries to close. Times are microseconds."""

    failure_threshold: int = 5
    recovery_us: int = 60_000_000
    probe_lease_us: int = 31_000_000


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """The state of one circuit. `opened_at` and `probe_until` are None when there is no such time."""

    failures: int = 0
    opened_at: int | None = None
    probe_until: int | None = None
    generation: int = 0

    def state(self, policy: BreakerPolicy, now: int) -> CircuitState:
        """Closed, open or half open at `now`. Exactly at the end of the recovery time it is half open."""
        if self.opened_at is None:
            return CircuitState.CLOSED
        if 0 <= now - self.opened_at < policy.recovery_us:
            return CircuitState.OPEN
        return CircuitState.HALF_OPEN

    def is_open(self, policy: BreakerPolicy, now: int) -> bool:
        """Whether every attempt is refused."""
        return self.state(policy, now) is CircuitState.OPEN

    def is_half_open(self, policy: BreakerPolicy, now: int) -> bool:
        """Whether one probe may pass, or is on its way."""
        return self.state(policy, now) is CircuitState.HALF_OPEN

    def refused_for(self, policy: BreakerPolicy, now: int) -> int:
        """Microseconds until an attempt may pass; 0 when one may pass now."""
        match self.state(policy, now):
            case CircuitState.CLOSED:
                return 0
            case CircuitState.OPEN:
                return (self.opened_at or 0) + policy.recovery_us - now
            case CircuitState.HALF_OPEN:
                return self._probe_left(policy, now)

    def attempt_reset(self, policy: BreakerPolicy, now: int, starts_at: int) -> CircuitBreaker:
        """Send a probe that starts at `starts_at`, holding off the others for the length of its lease.

        Only for a half-open circuit that `refused_for` nothing at `now`.
        """
        if not self.is_half_open(policy, now) or self._probe_left(policy, now):
            raise ValueError("A probe may only pass a half-open circuit that has none under way.")
        return replace(self, probe_until=starts_at + policy.probe_lease_us, generation=self.generation + 1)

    def record_success(self, generation: int) -> CircuitBreaker:
        """What an attempt admitted in `generation` proves by succeeding."""
        if generation != self.generation:
            return self
        if self.opened_at is None:
            return self if self.failures == 0 else replace(self, failures=0)
        return CircuitBreaker(generation=self.generation + 1)

    def record_failure(self, policy: BreakerPolicy, generation: int, now: int) -> CircuitBreaker:
        """What an attempt admitted in `generation` proves by failing at `now`."""
        if generation != self.generation:
            return self
        failures = self.failures + 1
        if self.opened_at is None and failures < policy.failure_threshold:
            return replace(self, failures=failures)
        return CircuitBreaker(failures=failures, opened_at=now, generation=self.generation + 1)

    def release_probe(self, generation: int) -> CircuitBreaker:
        """An attempt admitted in `generation` proved nothing: let the next one probe."""
        return replace(self, probe_until=None) if generation == self.generation else self

    def _probe_left(self, policy: BreakerPolicy, now: int) -> int:
        if self.probe_until is None:
            return 0
        left = self.probe_until - now
        # A lease longer than any can be was given before the clock was set back.
        return left if 0 < left <= policy.probe_lease_us + LONGEST_WAIT_US else 0
