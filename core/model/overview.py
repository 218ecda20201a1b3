"""One integration at a glance: what the Health page, the API and a notebook show."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from core.model.health import CircuitState, HealthRecord, HealthStatus


@dataclass(frozen=True, slots=True)
class CallTotals:
    """What came of the calls of some span of time.

    Rates are between 0 and 1, and None when there was nothing to count. `p50_ms` to `p99_ms` are read from a
    merged latency sketch and are within 1 % of the exact value.
    """

    total: int = 0
    successful: int = 0
    failed: int = 0
    cached: int = 0
    stale: int = 0
    mocked: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None

    @property
    def success_rate(self) -> float | None:
        return self.successful / self.total if self.total else None

    @property
    def cache_hit_rate(self) -> float | None:
        return self.cached / self.total if self.total else None


@dataclass(frozen=True, slots=True)
class MinuteCount:
    """What came of one integration's calls of one minute, which begins at `minute`. `mean_ms` is what they took."""

    integration: str
    minute: datetime
    total: int
    failed: int
    mean_ms: float


@dataclass(frozen=True, slots=True)
class OverrideView:
    """An operator's word over a circuit (`core.policies.override`): what it is, whose and why, and for how long yet."""

    mode: str
    by: str
    reason: str
    ends_in_s: float


@dataclass(frozen=True, slots=True)
class CircuitView:
    """The circuit breaker of one provider now. `retry_after_s` is how long it refuses, 0 when it does not."""

    provider: str
    state: CircuitState
    failures: int
    retry_after_s: float
    override: OverrideView | None = None


@dataclass(frozen=True, slots=True)
class IntegrationOverview:
    """One integration: what it is, how well it is (None before the first check), and its last hour.

    `totals` are of the calls from `since` until now; `minutes` are the newest minutes that had calls, oldest first.
    """

    name: str
    title: str
    type: str
    is_enabled: bool
    is_mock_mode: bool
    circuits: tuple[CircuitView, ...]
    health: HealthRecord | None
    totals: CallTotals
    since: datetime
    minutes: tuple[MinuteCount, ...] = ()

    @property
    def status(self) -> HealthStatus | None:
        """How well it is now: as the last check found it, and no better than its circuits are at this moment.

        With every circuit open it is unhealthy, with one that is not closed degraded. None before the first check.
        """
        if self.health is None:
            return None
        return max(self.health.status, self._status_of_circuits(), key=lambda status: status.badness)

    def _status_of_circuits(self) -> HealthStatus:
        states = {circuit.state for circuit in self.circuits}
        if states == {CircuitState.OPEN}:
            return HealthStatus.UNHEALTHY
        return HealthStatus.HEALTHY if states <= {CircuitState.CLOSED} else HealthStatus.DEGRADED

    @property
    def worst_circuit(self) -> CircuitState:
        """The state that an operator has to know of first: open before half open before closed."""
        states = {circuit.state for circuit in self.circuits}
        for state in (CircuitState.OPEN, CircuitState.HALF_OPEN):
            if state in states:
                return state
        return CircuitState.CLOSED
