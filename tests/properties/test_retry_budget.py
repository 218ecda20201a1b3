"""While a provider is down retries add next to nothing to its traffic, however many callers there are."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.policies.admission import (
    AdmissionPolicy,
    Ask,
    Granted,
    ProviderState,
    Settlement,
    admit,
    may_retry,
    settle,
)
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.rate_limit import LimitPolicy
from core.policies.retry_budget import RetryBudget

START = 1_000_000_000_000
MOST_RETRIES = 5
"""In an outage: so many failures spend half of the budget."""

unlimited = LimitPolicy(100_000, 1_000_000)
_FAILED = (Settlement.ILL, Settlement.THROTTLED)
failing = st.sampled_from(_FAILED)


@dataclass
class Traffic:
    """What reached the provider, and what of that was tried again."""

    calls: int = 0
    retries: int = 0
    successes: int = 0


def traffic(
    policy: AdmissionPolicy,
    arrivals: list[int],
    turns: list[int],
    outcomes: list[Settlement],
    max_retries: int,
) -> Traffic:
    """Calls arrive so many microseconds after one another, and each tries again at once as often as it may.

    All that are under way take turns as drawn, so that attempts of many calls end between one another.
    """
    seen, state, now = Traffic(), ProviderState(), START
    under_way: list[tuple[Granted, int]] = []
    for number, gap in enumerate(arrivals):
        now += gap
        state, admission = admit(state, policy, Ask(), now)
        if isinstance(admission, Granted):
            seen.calls += 1
            under_way.append((admission, 0))
        for _ in range(turns[number % len(turns)]):
            if not under_way:
                break
            attempt, retried = under_way.pop((number * 7919) % len(under_way))
            outcome = outcomes[(seen.calls + seen.retries) % len(outcomes)]
            state = settle(state, policy, attempt, outcome, now)
            seen.successes += outcome is Settlement.WELL
            if outcome not in _FAILED or retried == max_retries or not may_retry(state, policy):
                continue
            state, admission = admit(state, policy, Ask(), now)
            if isinstance(admission, Granted):
                seen.retries += 1
                under_way.append((admission, retried + 1))
    return seen


arrivals = st.lists(st.integers(0, 2_000_000), min_size=20, max_size=300)
turns = st.lists(st.integers(0, 6), min_size=1, max_size=10)


@given(
    breaker=st.none() | st.just(BreakerPolicy()) | st.just(BreakerPolicy(failure_threshold=100)),
    arrivals=arrivals,
    turns=turns,
    outcomes=st.lists(failing, min_size=1, max_size=5),
    max_retries=st.integers(0, 10),
)
def test_in_a_full_outage_a_handful_of_retries_goes_out_and_then_none(
    breaker: BreakerPolicy | None,
    arrivals: list[int],
    turns: list[int],
    outcomes: list[Settlement],
    max_retries: int,
) -> None:
    """Without a breaker all calls go on reaching the provider; the budget alone keeps their retries away."""
    seen = traffic(AdmissionPolicy(breaker, unlimited), arrivals, turns, outcomes, max_retries)

    assert seen.retries <= MOST_RETRIES
    assert seen.calls + seen.retries <= 1.1 * seen.calls + MOST_RETRIES


@given(
    percent=st.integers(0, 100),
    arrivals=arrivals,
    turns=turns,
    outcomes=st.lists(st.sampled_from(Settlement), min_size=1, max_size=30),
    max_retries=st.integers(0, 10),
)
def test_retries_never_add_more_than_their_share_of_what_went_well(
    percent: int, arrivals: list[int], turns: list[int], outcomes: list[Settlement], max_retries: int
) -> None:
    policy = AdmissionPolicy(None, unlimited, RetryBudget(percent=percent))

    seen = traffic(policy, arrivals, turns, outcomes, max_retries)

    assert seen.retries <= MOST_RETRIES + seen.successes * percent / 100


@pytest.mark.parametrize(("budget", "retries"), [(RetryBudget(), 4), (None, 1000)])
def test_it_is_the_budget_that_keeps_retries_away(budget: RetryBudget | None, retries: int) -> None:
    """A hundred calls that try ten times again: without a budget that is eleven times the traffic."""
    policy = AdmissionPolicy(None, unlimited, budget)

    seen = traffic(policy, [1_000_000] * 100, [11], [Settlement.ILL], 10)

    assert (seen.calls, seen.retries) == (100, retries)


def test_after_an_outage_retries_are_allowed_again_once_enough_went_well() -> None:
    policy, state = AdmissionPolicy(None, None), ProviderState()
    for _ in range(100):
        state = settle(state, policy, Granted(0), Settlement.ILL, START)
    good = 0
    while not may_retry(state, policy):
        state = settle(state, policy, Granted(0), Settlement.WELL, START)
        good += 1

    assert good == 51
