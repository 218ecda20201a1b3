"""What a configuration means for calls, in the units that decisions use."""

from __future__ import annotations

import pytest

from core.config.integration import IntegrationConfig, IntegrationType
from core.model.calling import Jitter, LimitMode
from core.policies.admission import AdmissionPolicy
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.policy import CachePolicy, CallPolicy
from core.policies.rate_limit import LimitPolicy
from core.policies.retry import RetryPolicy
from core.policies.retry_budget import RetryBudget


def config(**figures: object) -> IntegrationConfig:
    return IntegrationConfig.model_validate(
        {"integration_name": "address", "integration_type": IntegrationType.API, **figures}
    )


def test_every_figure_of_a_configuration_arrives_where_it_decides() -> None:
    configured = config(
        timeout_seconds=2.5,
        deadline_seconds=11,
        max_retries=4,
        retry_initial_delay_seconds=0.25,
        retry_backoff_factor=3,
        retry_max_delay_seconds=17,
        retry_jitter="decorrelated",
        retry_budget_percent=7,
        max_calls_in_flight=9,
        circuit_breaker_failure_threshold=6,
        circuit_breaker_timeout_seconds=1.000_001_2,
        circuit_breaker_probes=2,
        circuit_breaker_probes_by_check=True,
        circuit_breaker_failure_percent=51,
        circuit_breaker_slow_percent=52,
        circuit_breaker_slow_seconds=0.5,
        circuit_breaker_window_seconds=30,
        circuit_breaker_minimum_calls=21,
        rate_limit_calls_per_minute=70,
        rate_limit_calls_per_hour=800,
        rate_limit_max_wait_seconds=4,
        rate_limit_mode="exact",
        rate_limit_reserved_percent=25,
        cache_ttl_seconds=100,
        cache_local_seconds=3,
        cache_revalidate_seconds=20,
        cache_negative_seconds=40,
        cache_stale_seconds=1000,
    )

    assert CallPolicy.of(configured) == CallPolicy(
        timeout_s=2.5,
        deadline_s=11,
        retry=RetryPolicy(4, 0.25, 3, 17, Jitter.DECORRELATED),
        admission=AdmissionPolicy(
            BreakerPolicy(6, 1_000_001, 3_500_000, 2, True, 51, 52, 500_000, 30_000_000, 21),
            LimitPolicy(70, 800, 4_000_000, LimitMode.EXACT, 25),
            RetryBudget(tokens=10, percent=7),
        ),
        cache=CachePolicy(ttl_s=100, stale_s=1000, local_s=3, revalidate_s=20, negative_s=40),
        max_in_flight=9,
    )


def test_the_policies_have_the_same_defaults_as_the_configuration() -> None:
    assert CallPolicy.of(config()) == CallPolicy(
        timeout_s=30,
        deadline_s=60,
        retry=RetryPolicy(),
        admission=AdmissionPolicy(),
        cache=CachePolicy(ttl_s=3600, stale_s=86_400, local_s=5, revalidate_s=0, negative_s=30),
    )
    assert CachePolicy(1, 2) == CachePolicy(1, 2, local_s=0, revalidate_s=0, negative_s=0)


@pytest.mark.parametrize(
    ("switched_off", "remaining"),
    [
        ({"circuit_breaker_enabled": False}, AdmissionPolicy(breaker=None)),
        ({"rate_limit_enabled": False}, AdmissionPolicy(limits=None)),
        ({"retry_budget_percent": 0}, AdmissionPolicy(budget=None)),
    ],
)
def test_each_guard_can_be_switched_off_by_itself(
    switched_off: dict[str, object], remaining: AdmissionPolicy
) -> None:
    assert CallPolicy.of(config(**switched_off)).admission == remaining


def test_a_cache_that_is_switched_off_is_none() -> None:
    assert CallPolicy.of(config(cache_enabled=False)).cache is None


def test_an_answer_is_served_from_a_processs_own_memory_no_longer_than_it_is_fresh() -> None:
    cache = CallPolicy.of(config(cache_ttl_seconds=2, cache_local_seconds=5)).cache

    assert cache is not None
    assert cache.local_s == 2
