"""The circuit breaker of one provider: leave it alone while it is ill, try one probe after a while.

    closed ── too many failures ──▶ open
    open ──── `recovery_us` later ────────────────────▶ half open: `probes` probes pass, the rest are refused
    half open ── a probe succeeds ──▶ closed
    half open ── a probe fails ─────▶ open again

Too many failures are `failure_threshold` in a row; and, when a percentage is set, too large a share of failed or
of slow attempts in a window (`core.policies.tally`).

The breaker is a value: each method returns what it becomes. `generation` grows whenever it opens, closes or
begins to probe, so that the late result of an attempt admitted before then changes nothing. A probe is a lease:
when its caller dies, the next one may probe after `probe_lease_us`.

Times are integer microseconds of one clock, which may be set back: an opening that lies in the future counts as
long ago, so that a breaker never stays open for want of a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from core.model.health import CircuitState
from core.policies.tally import Tally, counted, reaches

LONGEST_WAIT_US = 900_000_000
"""The longest that a probe may wait for its turn before its lease begins: no call has more time in all."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a circuit opens and when it tries to close. Times are microseconds, shares are percentages.

    A percentage of 0 is not looked at. An attempt is slow that took `slow_us` or longer. With `probes_by_check` the
    probe is the integration's own health check, and never a user's call.
    """

    failure_threshold: int = 5
    recovery_us: int = 60_000_000
    probe_lease_us: int = 31_000_000
    probes: int = 1
    probes_by_check: bool = False
    failure_percent: int = 0
    slow_percent: int = 0
    slow_us: int = 5_000_000
    window_us: int = 60_000_000
    minimum_calls: int = 20
    looks_at_shares: bool = field(init=False, repr=False, compare=False)
    """Whether it has to hear of every attempt, also of one that went well after others that went well."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "looks_at_shares", self.failure_percent > 0 or self.slow_percent > 0)


class CircuitBreaker(NamedTuple):
    """The state of one circuit. `opened_at` and `probe_until` are None when there is no such time.

    `probes` are under way until `probe_until` at the latest; `tally` is empty unless the circuit is closed and shares
    are looked at.
    """

    failures: int = 0
    opened_at: int | None = None
    probe_until: int | None = None
    probes: int = 0
    generation: int = 0
    tally: Tally = ()

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
        """Whether a probe may pass, or is on its way."""
        return self.state(policy, now) is CircuitState.HALF_OPEN

    def refused_for(self, policy: BreakerPolicy, now: int) -> int:
        """Microseconds until an attempt may pass; 0 when one may pass now."""
        if self.opened_at is None:
            return 0
        since = now - self.opened_at
        if 0 <= since < policy.recovery_us:
            return policy.recovery_us - since
        return self._probe_left(policy, now) if self.probes >= policy.probes else 0

    def attempt_reset(self, policy: BreakerPolicy, now: int, starts_at: int) -> CircuitBreaker:
        """Send a probe that starts at `starts_at`, holding off the others for the length of its lease.

        Only for a half-open circuit that `refused_for` nothing at `now`.
        """
        if self.opened_at is None or self.refused_for(policy, now):
            raise ValueError("A probe may only pass a half-open circuit that has room for one.")
        until = starts_at + policy.probe_lease_us
        left = self._probe_left(policy, now)
        if left:
            until = max(until, now + left)
            return CircuitBreaker(self.failures, self.opened_at, until, self.probes + 1, self.generation)
        return CircuitBreaker(self.failures, self.opened_at, until, 1, self.generation + 1)

    def record_success(
        self, policy: BreakerPolicy, generation: int, now: int, *, is_slow: bool = False
    ) -> CircuitBreaker:
        """What an attempt admitted in `generation` proves by succeeding at `now`."""
        if generation != self.generation:
            return self
        if self.opened_at is not None:
            return CircuitBreaker(generation=self.generation + 1)
        if policy.looks_at_shares:
            return self._counted(policy, now, 0, is_failure=False, is_slow=is_slow)
        return CircuitBreaker(generation=generation) if self.failures else self

    def record_failure(
        self, policy: BreakerPolicy, generation: int, now: int, *, is_slow: bool = False
    ) -> CircuitBreaker:
        """What an attempt admitted in `generation` proves by failing at `now`."""
        if generation != self.generation:
            return self
        failures = self.failures + 1
        if self.opened_at is not None or failures >= policy.failure_threshold:
            return CircuitBreaker(failures, now, generation=generation + 1)
        if policy.looks_at_shares:
            return self._counted(policy, now, failures, is_failure=True, is_slow=is_slow)
        return CircuitBreaker(failures, generation=generation)

    def release_probe(self, generation: int) -> CircuitBreaker:
        """A probe admitted in `generation` proved nothing: let another one go."""
        if generation != self.generation or not self.probes:
            return self
        left = self.probes - 1
        return self._replace(probes=left, probe_until=self.probe_until if left else None)

    def _counted(
        self, policy: BreakerPolicy, now: int, failures: int, *, is_failure: bool, is_slow: bool
    ) -> CircuitBreaker:
        """A closed circuit after one more attempt, `failures` in a row by now: open if its share is too large."""
        tally = counted(self.tally, policy.window_us, now, is_failure=is_failure, is_slow=is_slow)
        if reaches(tally, policy.minimum_calls, policy.failure_percent, policy.slow_percent):
            return CircuitBreaker(failures, now, generation=self.generation + 1)
        return CircuitBreaker(failures, generation=self.generation, tally=tally)

    def _probe_left(self, policy: BreakerPolicy, now: int) -> int:
        if self.probe_until is None:
            return 0
        left = self.probe_until - now
        # A lease longer than any can be was given before the clock was set back.
        return max(0, left) if left <= policy.probe_lease_us + LONGEST_WAIT_US else 0
