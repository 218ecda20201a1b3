"""The rule that turns what was found out about an integration into one of three statuses.

| status | when |
| --- | --- |
| unhealthy | no provider can be asked, or none of them is well |
| degraded | some provider is not well, its circuit is not closed, a check was slow, or more than 10 % of the calls of the last quarter of an hour failed (of ten or more) |
| healthy | otherwise |

A provider is well when it answered its check; throttling counts as well (it works, and is busy).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from core.model.health import CircuitState, HealthStatus
from core.model.overview import CallTotals
from core.model.verdict import Verdict

SLOW_SHARE: Final = 0.5
"""A check that takes more than this share of the time-out is slow."""

FAILURE_RATE: Final = 0.10
FEWEST_CALLS: Final = 10


@dataclass(frozen=True, slots=True)
class ProviderHealth:
    """What one check found out about one provider."""

    provider: str
    verdict: Verdict
    duration_ms: float
    circuit: CircuitState
    detail: str = ""

    @property
    def is_well(self) -> bool:
        return self.verdict.is_healthy or self.verdict is Verdict.THROTTLED


@dataclass(frozen=True, slots=True)
class Finding:
    """A status and why, for people, with each provider's own reason."""

    status: HealthStatus
    message: str
    details: Mapping[str, str]


def judge(providers: Sequence[ProviderHealth], totals: CallTotals, timeout_ms: float) -> Finding:
    """The status that follows from a check and from the calls of the last quarter of an hour."""
    if not providers:
        return Finding(HealthStatus.UNHEALTHY, "No provider can be asked: no credentials are configured.", {})
    details = {provider.provider: _reason(provider, timeout_ms) for provider in providers}
    ill = [provider.provider for provider in providers if not provider.is_well]
    if len(ill) == len(providers):
        return Finding(HealthStatus.UNHEALTHY, f"Not well: {', '.join(ill)}.", details)
    reasons = [
        *(f"{name} is not well" for name in ill),
        *(
            f"{provider.provider}'s circuit is {provider.circuit.value.replace('_', ' ')}"
            for provider in providers
            if provider.is_well and provider.circuit is not CircuitState.CLOSED
        ),
        *(
            f"{provider.provider} is slow"
            for provider in providers
            if provider.is_well and _is_slow(provider, timeout_ms)
        ),
    ]
    if totals.total >= FEWEST_CALLS and totals.failed > totals.total * FAILURE_RATE:
        reasons.append(f"{totals.failed} of {totals.total} recent calls failed")
    if reasons:
        return Finding(HealthStatus.DEGRADED, f"{'; '.join(reasons)}.", details)
    return Finding(HealthStatus.HEALTHY, "All providers answered.", details)


def _is_slow(provider: ProviderHealth, timeout_ms: float) -> bool:
    return provider.duration_ms > timeout_ms * SLOW_SHARE


def _reason(provider: ProviderHealth, timeout_ms: float) -> str:
    if not provider.is_well:
        return f"{provider.verdict.value.replace('_', ' ')}: {provider.detail}".removesuffix(": ")
    speed = "slow" if _is_slow(provider, timeout_ms) else "well"
    return f"{speed}, {provider.duration_ms:.0f} ms"
