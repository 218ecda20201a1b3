"""An integration at a glance is never shown as better than its circuits are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.model.health import CircuitState, HealthRecord, HealthStatus
from core.model.overview import CallTotals, CircuitView, IntegrationOverview
from tests.fakes import NOON

CLOSED, OPEN, PROBING = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


def overview(status: HealthStatus | None, *circuits: CircuitState) -> IntegrationOverview:
    health = (
        None if status is None else HealthRecord("a", status, CLOSED, NOON, NOON, None, 0, 0, None, "", {})
    )
    return IntegrationOverview(
        name="a",
        title="A",
        type="api",
        is_enabled=True,
        is_mock_mode=False,
        circuits=tuple(CircuitView(f"p{n}", state, 0, 0.0) for n, state in enumerate(circuits)),
        health=health,
        totals=CallTotals(),
        since=NOON,
    )


@pytest.mark.parametrize(
    ("checked", "circuits", "shown"),
    [
        (HealthStatus.HEALTHY, [CLOSED, CLOSED], HealthStatus.HEALTHY),
        (HealthStatus.HEALTHY, [OPEN, CLOSED], HealthStatus.DEGRADED),
        (HealthStatus.HEALTHY, [PROBING], HealthStatus.DEGRADED),
        (HealthStatus.HEALTHY, [OPEN, OPEN], HealthStatus.UNHEALTHY),
        (HealthStatus.UNHEALTHY, [CLOSED], HealthStatus.UNHEALTHY),
        (HealthStatus.DEGRADED, [], HealthStatus.DEGRADED),
        (None, [OPEN], None),
    ],
)
def test_the_status_shown_is_the_worse_of_the_check_and_the_circuits(
    checked: HealthStatus | None, circuits: list[CircuitState], shown: HealthStatus | None
) -> None:
    assert overview(checked, *circuits).status is shown


def test_rates_are_unknown_while_there_is_nothing_to_count() -> None:
    assert CallTotals().success_rate is None
    assert CallTotals(total=4, successful=3, cached=1).success_rate == 0.75
    assert CallTotals(total=4, successful=3, cached=1).cache_hit_rate == 0.25


def test_an_open_circuit_is_what_an_operator_has_to_know_first() -> None:
    ill = overview(None, CLOSED, PROBING, OPEN)

    assert ill.worst_circuit is OPEN
    assert replace(ill, circuits=ill.circuits[:2]).worst_circuit is PROBING
