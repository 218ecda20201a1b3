"""The rule that turns a check and the recent calls into a status."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.health.status import FAILURE_RATE, FEWEST_CALLS, ProviderHealth, judge
from core.model.health import CircuitState, HealthStatus
from core.model.overview import CallTotals
from core.model.verdict import Verdict


def provider(
    name: str = "juso",
    verdict: Verdict = Verdict.OK,
    duration_ms: float = 40,
    circuit: CircuitState = CircuitState.CLOSED,
) -> ProviderHealth:
    return ProviderHealth(name, verdict, duration_ms, circuit)


def status(*providers: ProviderHealth, totals: CallTotals | None = None) -> HealthStatus:
    return judge(providers, totals or CallTotals(), timeout_ms=1000).status


def test_it_is_healthy_when_every_provider_answers() -> None:
    assert status(provider(), provider("kakao")) is HealthStatus.HEALTHY


def test_it_is_unhealthy_when_no_provider_is_well() -> None:
    assert status(provider(verdict=Verdict.UNAVAILABLE)) is HealthStatus.UNHEALTHY


def test_it_is_unhealthy_when_nobody_can_be_asked() -> None:
    finding = judge([], CallTotals(), timeout_ms=1000)

    assert finding.status is HealthStatus.UNHEALTHY
    assert "no credentials" in finding.message


def test_it_is_degraded_when_one_of_two_providers_is_not_well() -> None:
    assert status(provider(verdict=Verdict.TIMED_OUT), provider("kakao")) is HealthStatus.DEGRADED


def test_it_is_degraded_when_a_check_takes_more_than_half_the_time_out() -> None:
    assert status(provider(duration_ms=500)) is HealthStatus.HEALTHY
    assert status(provider(duration_ms=501)) is HealthStatus.DEGRADED


def test_it_is_degraded_while_a_circuit_is_not_closed() -> None:
    assert status(provider(circuit=CircuitState.OPEN)) is HealthStatus.DEGRADED
    assert status(provider(circuit=CircuitState.HALF_OPEN)) is HealthStatus.DEGRADED


def test_more_than_a_tenth_of_enough_calls_failing_degrades_it() -> None:
    assert status(provider(), totals=CallTotals(total=10, failed=1)) is HealthStatus.HEALTHY
    assert status(provider(), totals=CallTotals(total=10, failed=2)) is HealthStatus.DEGRADED
    assert status(provider(), totals=CallTotals(total=9, failed=9)) is HealthStatus.HEALTHY


def test_a_busy_provider_counts_as_well() -> None:
    assert status(provider(verdict=Verdict.THROTTLED)) is HealthStatus.HEALTHY


@pytest.mark.property(40)
@given(
    providers=st.lists(
        st.builds(
            ProviderHealth,
            st.sampled_from(["juso", "kakao"]),
            st.sampled_from(list(Verdict)),
            st.floats(0, 3000),
            st.sampled_from(list(CircuitState)),
        ),
        max_size=3,
    ),
    total=st.integers(0, 50),
    failed_share=st.floats(0, 1),
)
def test_the_status_is_one_of_three_and_follows_from_the_rule(
    providers: list[ProviderHealth], total: int, failed_share: float
) -> None:
    """The documented rule, written a second time as three conditions, gives the same status."""
    totals = CallTotals(total=total, failed=round(total * failed_share))
    well = [found for found in providers if found.is_well]
    is_degraded = (
        len(well) < len(providers)
        or any(found.duration_ms > 500 or found.circuit is not CircuitState.CLOSED for found in well)
        or (total >= FEWEST_CALLS and totals.failed / total > FAILURE_RATE)
    )

    found = status(*providers, totals=totals)

    if not well:
        assert found is HealthStatus.UNHEALTHY
    else:
        assert found is (HealthStatus.DEGRADED if is_degraded else HealthStatus.HEALTHY)
