"""`CallPolicy`: everything that decides about calls of one integration, in the units that decisions use."""

from __future__ import annotations

from dataclasses import dataclass

from core.config.integration import IntegrationConfig
from core.policies.admission import AdmissionPolicy
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.rate_limit import LimitPolicy
from core.policies.retry import RetryPolicy

_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """How long an answer is fresh, and how long beyond that it may still stand in (seconds)."""

    ttl_s: float
    stale_s: float


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """One integration's policies. `cache` is None when answers are not kept. Times are seconds."""

    timeout_s: float
    deadline_s: float
    retry: RetryPolicy
    admission: AdmissionPolicy
    cache: CachePolicy | None

    @staticmethod
    def of(config: IntegrationConfig) -> CallPolicy:
        """What the configuration means for calls."""
        return CallPolicy(
            timeout_s=config.timeout_seconds,
            deadline_s=config.deadline_seconds,
            retry=RetryPolicy(
                max_retries=config.max_retries,
                initial_delay_s=config.retry_initial_delay_seconds,
                factor=config.retry_backoff_factor,
                max_delay_s=config.retry_max_delay_seconds,
            ),
            admission=AdmissionPolicy(
                breaker=_breaker(config) if config.circuit_breaker_enabled else None,
                limits=_limits(config) if config.rate_limit_enabled else None,
            ),
            cache=CachePolicy(config.cache_ttl_seconds, config.cache_stale_seconds)
            if config.cache_enabled
            else None,
        )


def _breaker(config: IntegrationConfig) -> BreakerPolicy:
    return BreakerPolicy(
        failure_threshold=config.circuit_breaker_failure_threshold,
        recovery_us=round(config.circuit_breaker_timeout_seconds * _MICROSECONDS),
        # A probe that has not ended a second after its own time-out is taken for dead.
        probe_lease_us=round((config.timeout_seconds + 1) * _MICROSECONDS),
    )


def _limits(config: IntegrationConfig) -> LimitPolicy:
    return LimitPolicy(
        per_minute=config.rate_limit_calls_per_minute,
        per_hour=config.rate_limit_calls_per_hour,
        max_wait_us=round(config.rate_limit_max_wait_seconds * _MICROSECONDS),
    )
