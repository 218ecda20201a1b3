"""May an attempt that was granted, and then waited for its turn, still go? Much may have happened meanwhile."""

from __future__ import annotations

from core.policies.admission import AdmissionPolicy, Granted, ProviderState, RefusedByCircuit
from core.policies.override import OverrideMode


def refused_since(
    state: ProviderState, policy: AdmissionPolicy, granted: Granted, now: int
) -> RefusedByCircuit | None:
    """Why it may not go any more: the circuit opened, or was forced open, after it was granted."""
    override = state.override_at(now)
    if override and override.mode is OverrideMode.FORCED_OPEN:
        return RefusedByCircuit(override.until - now, forced_by=f"{override.by}: {override.reason}")
    breaker = state.breaker
    if (
        policy.breaker is None
        or override
        or breaker.opened_at is None
        or breaker.generation == granted.generation
    ):
        return None
    return RefusedByCircuit(breaker.refused_for(policy.breaker, now))


def paused_since(state: ProviderState, now: int) -> int:
    """For how many microseconds the provider wants to be left alone yet."""
    return max(0, state.pause_end(now) - now)
