"""Ten thousand simulated schedules of processes, crashes and outages, and not one broken promise among them."""

from __future__ import annotations

import pytest

from core.model.calling import LimitMode
from core.policies.circuit_breaker import BreakerPolicy, CircuitBreaker
from core.policies.rate_limit import TokenBucket
from core.policies.retry_budget import RetryBudget
from tests.scale import SCHEDULES
from tests.schedules import schedules

_PARTS = 8


@pytest.mark.property(20)
@pytest.mark.property(22)
@pytest.mark.property(27)
@pytest.mark.property(28)
@pytest.mark.parametrize("part", range(_PARTS))
@pytest.mark.timeout(3600)
def test_no_schedule_breaks_a_promise(part: int) -> None:
    """Windows hold, turns are in order, one probe, one fetch, no attempt past its deadline, retries bounded."""
    count = SCHEDULES // _PARTS

    broken = [(played.seed, played.faults) for played in schedules(part * count, count) if played.faults]

    assert broken == []


_bucket_of = TokenBucket.of


def _twice_the_limit(limit: int, window_us: int, _mode: LimitMode = LimitMode.ANY_WINDOW) -> TokenBucket:
    return _bucket_of(limit, window_us, LimitMode.BUCKET)


def _no_lease(breaker: CircuitBreaker, policy: BreakerPolicy, now: int) -> int:
    return policy.recovery_us if breaker.is_open(policy, now) else 0


def _always(_budget: RetryBudget, _debt: int) -> bool:
    return True


@pytest.mark.parametrize(
    ("rule", "name", "broken"),
    [
        (TokenBucket, "of", staticmethod(_twice_the_limit)),
        (CircuitBreaker, "refused_for", _no_lease),
        (RetryBudget, "allows", _always),
    ],
)
def test_a_broken_rule_is_noticed(
    rule: type, name: str, broken: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule, name, broken)

    assert any(played.faults for played in schedules(0, 3000))
