"""The retry budget: what an attempt costs, what it brings back, and when it is used up."""

from __future__ import annotations

import pytest

from core.policies.retry_budget import RetryBudget

BUDGET = RetryBudget()


def test_a_failed_attempt_costs_a_token_and_never_more_than_there_is() -> None:
    assert BUDGET.after_failure(0) == 1_000
    assert BUDGET.after_failure(8_950) == 9_950
    assert BUDGET.after_failure(9_001) == 10_000
    assert BUDGET.after_failure(10_000) == 10_000


def test_an_attempt_that_went_well_brings_a_tenth_back_and_never_more_than_was_spent() -> None:
    assert BUDGET.after_success(10_000) == 9_900
    assert BUDGET.after_success(100) == 0
    assert BUDGET.after_success(99) == 0
    assert BUDGET.after_success(0) == 0


@pytest.mark.parametrize(("debt", "is_allowed"), [(0, True), (4_999, True), (5_000, False), (10_000, False)])
def test_a_retry_is_allowed_while_more_than_half_of_the_budget_is_there(debt: int, is_allowed: bool) -> None:
    assert BUDGET.allows(debt) is is_allowed


def test_a_budget_may_be_of_another_size_and_fill_faster() -> None:
    budget = RetryBudget(tokens=3, percent=25)

    assert budget.after_failure(2_500) == 3_000
    assert budget.after_success(1_000) == 750
    assert (budget.allows(1_499), budget.allows(1_500)) == (True, False)
