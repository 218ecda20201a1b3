"""How well a third party is, and how we found out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class HealthStatus(StrEnum):
    """How well an integration is, from good to bad."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"

    @property
    def badness(self) -> int:
        """0 for healthy, 1 for degraded, 2 for unhealthy: statuses compare by this."""
        return _BADNESS[self]


_BADNESS = {HealthStatus.HEALTHY: 0, HealthStatus.DEGRADED: 1, HealthStatus.UNHEALTHY: 2}


class CircuitState(StrEnum):
    """What a circuit breaker does with the next attempt: lets it through, refuses it, or tries one probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One check of one integration. `duration_ms` covers the slowest provider; `details` is provider → reason."""

    integration: str
    checked_at: datetime
    status: HealthStatus
    circuit_state: CircuitState
    duration_ms: float
    message: str
    details: dict[str, str]


@dataclass(frozen=True, slots=True)
class HealthRecord:
    """What is known of one integration's health now.

    `failures_24h` counts failed checks of the last 24 hours; `opened_at` is when the circuit opened, while it
    is not closed.
    """

    integration: str
    status: HealthStatus
    circuit_state: CircuitState
    last_check_at: datetime
    last_success_at: datetime | None
    last_failure_at: datetime | None
    consecutive_failures: int
    failures_24h: int
    opened_at: datetime | None
    message: str
    details: dict[str, str]
