"""How an integration is called: what each figure may be, and that nothing else is taken."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from core.config.integration import IntegrationConfig, IntegrationType
from core.model.calling import LONGEST_HISTORY, Jitter, LimitMode
from core.policies.circuit_breaker import LONGEST_WAIT_US

YEAR = 31_536_000


def config(**figures: object) -> IntegrationConfig:
    return IntegrationConfig.model_validate(
        {"integration_name": "address", "integration_type": IntegrationType.API, **figures}
    )


BOUNDS = [
    ("retry_budget_percent", 0, 100, (-1, 101, 2.5)),
    ("max_calls_in_flight", 1, 10_000, (0, 10_001)),
    ("circuit_breaker_probes", 1, 100, (0, 101)),
    ("circuit_breaker_failure_percent", 0, 100, (-1, 101)),
    ("circuit_breaker_slow_percent", 0, 100, (-1, 101)),
    ("circuit_breaker_slow_seconds", 0.001, 300, (0, -1, 300.1, "inf", "nan")),
    ("circuit_breaker_window_seconds", 1, 3600, (0.9, 3600.1, "inf", "nan")),
    ("circuit_breaker_minimum_calls", 1, 10_000, (0, 10_001)),
    ("rate_limit_reserved_percent", 0, 90, (-1, 91)),
    ("cache_local_seconds", 0, 3600, (-0.1, 3600.1, "inf", "nan")),
    ("cache_revalidate_seconds", 0, YEAR, (-0.1, YEAR + 1, "inf", "nan")),
    ("cache_negative_seconds", 0, 86_400, (-0.1, 86_401, "inf", "nan")),
]


@pytest.mark.parametrize(("field", "least", "most"), [bound[:3] for bound in BOUNDS])
def test_a_figure_may_be_anything_in_its_bounds(field: str, least: float, most: float) -> None:
    assert getattr(config(**{field: least}), field) == least
    assert getattr(config(**{field: str(most)}), field) == most


@pytest.mark.parametrize(
    ("field", "figure"), [(field, figure) for field, _, _, refused in BOUNDS for figure in refused]
)
def test_a_figure_out_of_its_bounds_is_refused_by_name(field: str, figure: object) -> None:
    with pytest.raises(ValidationError) as refused:
        config(**{field: figure})

    assert [fault["loc"] for fault in refused.value.errors()] == [(field,)]


def test_no_call_has_more_time_than_a_probes_lease_allows_for() -> None:
    """Its lease begins when its turn comes, and one that lies further ahead than any turn is not believed."""
    most = LONGEST_WAIT_US / 1_000_000

    assert config(deadline_seconds=most, rate_limit_max_wait_seconds=300).deadline_seconds == most
    for field in ("deadline_seconds", "rate_limit_max_wait_seconds"):
        with pytest.raises(ValidationError):
            config(**{field: most + 1})


def test_jitter_and_limits_are_of_the_kinds_there_are() -> None:
    assert {config(retry_jitter=kind.value).retry_jitter for kind in Jitter} == set(Jitter)
    assert {config(rate_limit_mode=mode.value).rate_limit_mode for mode in LimitMode} == set(LimitMode)
    for field in ("retry_jitter", "rate_limit_mode"):
        with pytest.raises(ValidationError):
            config(**{field: "some"})


@pytest.mark.parametrize("field", ["rate_limit_calls_per_minute", "rate_limit_calls_per_hour"])
def test_an_exact_limit_is_one_that_can_be_remembered(field: str) -> None:
    figures = {"rate_limit_mode": "exact"}

    assert config(**figures, **{field: LONGEST_HISTORY}).rate_limit_mode is LimitMode.EXACT
    assert config(**{field: LONGEST_HISTORY + 1}).rate_limit_mode is LimitMode.ANY_WINDOW
    with pytest.raises(ValidationError, match="too large to be kept exactly") as refused:
        config(**figures, **{field: LONGEST_HISTORY + 1})
    assert [fault["loc"] for fault in refused.value.errors()] == [("rate_limit_mode",)]


def test_a_limit_that_is_refused_itself_is_not_said_to_be_too_large_as_well() -> None:
    with pytest.raises(ValidationError) as refused:
        config(rate_limit_mode="exact", rate_limit_calls_per_minute=0, rate_limit_calls_per_hour=-1)

    assert [fault["loc"][0] for fault in refused.value.errors()] == [
        "rate_limit_calls_per_minute",
        "rate_limit_calls_per_hour",
    ]
