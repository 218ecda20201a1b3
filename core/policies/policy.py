"""`CallPolicy`: everything that decides about calls of one integration, in the units that decisions use."""

from __future__ import annotations

from dataclasses import dataclass

from core.config.integration import IntegrationConfig
from core.policies.admission import AdmissionPolicy
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.rate_limit import LimitPolicy
from core.policies.retry import RetryPolicy
from core.policies.retry_budget import RetryBudget

_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """For how many seconds an answer is what.

    It is fresh for `ttl_s`; served without asking the store for `local_s` of that; beyond it, for `revalidate_s`, it is
    served at once while a fresh one is fetched; and for `stale_s` it may stand in when the provider fails. That there
    is no such thing is fresh for `negative_s`.
    """

    ttl_s: float
    stale_s: float
    local_s: float = 0.0
    revalidate_s: float = 0.0
    negative_s: float = 0.0


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """One integration's policies. `cache` is None when answers are not kept. Times are seconds."""

    timeout_s: float
    deadline_s: float
    retry: RetryPolicy
    admission: AdmissionPolicy
    cache: CachePolicy | None
    max_in_flight: int = 64

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
                jitter=config.retry_jitter,
            ),
            admission=AdmissionPolicy(
                breaker=_breaker(config) if config.circuit_breaker_enabled else None,
                limits=_limits(config) if config.rate_limit_enabled else None,
                budget=RetryBudget(percent=config.retry_budget_percent)
                if config.retry_budget_percent
                else None,
            ),
            cache=_cache(config) if config.cache_enabled else None,
            max_in_flight=config.max_calls_in_flight,
        )


def _cache(config: IntegrationConfig) -> CachePolicy:
    return CachePolicy(
        ttl_s=config.cache_ttl_seconds,
        stale_s=config.cache_stale_seconds,
        local_s=min(config.cache_local_seconds, config.cache_ttl_seconds),
        revalidate_s=config.cache_revalidate_seconds,
        negative_s=config.cache_negative_seconds,
    )


def _breaker(config: IntegrationConfig) -> BreakerPolicy:
    return BreakerPolicy(
        failure_threshold=config.circuit_breaker_failure_threshold,
        recovery_us=round(config.circuit_breaker_timeout_seconds * _MICROSECONDS),
        # A probe that has not ended a second after its own time-out is taken for dead.
        probe_lease_us=round((config.timeout_seconds + 1) * _MICROSECONDS),
        probes=config.circuit_breaker_probes,
        probes_by_check=config.circuit_breaker_probes_by_check,
        failure_percent=config.circuit_breaker_failure_percent,
        slow_percent=config.circuit_breaker_slow_percent,
        slow_us=round(config.circuit_breaker_slow_seconds * _MICROSECONDS),
        window_us=round(config.circuit_breaker_window_seconds * _MICROSECONDS),
        minimum_calls=config.circuit_breaker_minimum_calls,
    )


def _limits(config: IntegrationConfig) -> LimitPolicy:
    return LimitPolicy(
        per_minute=config.rate_limit_calls_per_minute,
        per_hour=config.rate_limit_calls_per_hour,
        max_wait_us=round(config.rate_limit_max_wait_seconds * _MICROSECONDS),
        mode=config.rate_limit_mode,
        reserved_percent=config.rate_limit_reserved_percent,
    )
