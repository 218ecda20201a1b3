"""GET /v1/health: how everything is, and every registered integration with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from fastapi import Depends, FastAPI
from pydantic import BaseModel

from core.model.health import CircuitState, HealthStatus
from core.model.overview import CallTotals, CircuitView, IntegrationOverview
from core.model.role import Role
from core.web.blocking import Blocking
from core.web.guard import Guard
from core.web.ports import WebHub


class OverrideOut(BaseModel):
    """An operator's word over a circuit breaker, and for how long it holds yet."""

    mode: str
    by: str
    reason: str
    ends_in_s: float


class CircuitOut(BaseModel):
    """The circuit breaker of one provider."""

    provider: str
    state: CircuitState
    failures: int
    retry_after_s: float
    override: OverrideOut | None


class TotalsOut(BaseModel):
    """What came of the calls of the last hour. Rates are from 0 to 1, and null when nothing was counted."""

    total: int
    successful: int
    failed: int
    success_rate: float | None
    cache_hit_rate: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class IntegrationHealthOut(BaseModel):
    """One integration. `status` is null before its first check.

    `status` is how it is now; `message` and `details` (a reason for each provider) are what the last check found.
    """

    name: str
    title: str
    is_enabled: bool
    is_mock_mode: bool
    status: HealthStatus | None
    message: str | None
    details: dict[str, str]
    last_check_at: datetime | None
    circuits: list[CircuitOut]
    last_hour: TotalsOut


class SharedStateOut(BaseModel):
    """Whether the web process reaches what all processes share. While it does not, since when, and each process
    keeps circuits, limits and cached answers of its own."""

    is_degraded: bool
    since: datetime | None


class HealthOut(BaseModel):
    """The whole system. `status` is the worst of the enabled integrations, null while none was checked."""

    status: HealthStatus | None
    at: datetime
    version: str
    shared_state: SharedStateOut
    integrations: list[IntegrationHealthOut]


def add_health(api: FastAPI, hub: WebHub, guard: Guard, blocking: Blocking) -> None:
    """Give `api` the routes of this resource."""

    @api.get("/v1/health", dependencies=[Depends(guard.requires(Role.VIEWER))])
    async def system_health() -> HealthOut:
        """How everything is."""
        overview = await blocking(hub.overview)
        since = hub.state_degraded_since
        return HealthOut(
            status=worst_status(overview),
            at=hub.clock.now(),
            version=hub.version,
            shared_state=SharedStateOut(is_degraded=since is not None, since=since),
            integrations=[_integration(one) for one in overview],
        )


def worst_status(overview: Sequence[IntegrationOverview]) -> HealthStatus | None:
    """The worst status among the enabled integrations that were checked; None when there is none."""
    statuses = [one.status for one in overview if one.is_enabled and one.status is not None]
    return max(statuses, key=lambda status: status.badness, default=None)


def _integration(one: IntegrationOverview) -> IntegrationHealthOut:
    return IntegrationHealthOut(
        name=one.name,
        title=one.title,
        is_enabled=one.is_enabled,
        is_mock_mode=one.is_mock_mode,
        status=one.status,
        message=one.health.message if one.health else None,
        details=one.health.details if one.health else {},
        last_check_at=one.health.last_check_at if one.health else None,
        circuits=[_circuit(circuit) for circuit in one.circuits],
        last_hour=_totals(one.totals),
    )


def _circuit(circuit: CircuitView) -> CircuitOut:
    return CircuitOut(
        provider=circuit.provider,
        state=circuit.state,
        failures=circuit.failures,
        retry_after_s=_finite(circuit.retry_after_s) or 0.0,
        override=OverrideOut(**asdict(circuit.override)) if circuit.override else None,
    )


def _totals(totals: CallTotals) -> TotalsOut:
    return TotalsOut(
        total=totals.total,
        successful=totals.successful,
        failed=totals.failed,
        success_rate=totals.success_rate,
        cache_hit_rate=totals.cache_hit_rate,
        p50_ms=_finite(totals.p50_ms),
        p95_ms=_finite(totals.p95_ms),
        p99_ms=_finite(totals.p99_ms),
    )


def _finite(value: float | None) -> float | None:
    """JSON knows no NaN and no infinity."""
    return value if value is not None and math.isfinite(value) else None
