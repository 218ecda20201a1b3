"""Whether what was granted may still go after it waited: not if the circuit opened meanwhile, or somebody opened it."""

from __future__ import annotations

import pytest

from core.policies.admission import (
    AdmissionPolicy,
    Ask,
    Granted,
    ProviderState,
    RefusedByCircuit,
    Settlement,
    admit,
    settle,
)
from core.policies.circuit_breaker import BreakerPolicy, CircuitBreaker
from core.policies.confirmation import paused_since, refused_since
from core.policies.override import Override, OverrideMode

POLICY = AdmissionPolicy(BreakerPolicy(failure_threshold=1), None, None)
OPENED = ProviderState(CircuitBreaker(failures=1, opened_at=1000, generation=1))


def word(mode: OverrideMode, until: int = 5000) -> Override:
    return Override(mode, until, "kim", "moving house")


def test_while_the_circuit_is_closed_what_was_granted_may_go() -> None:
    assert refused_since(ProviderState(), POLICY, Granted(0), 2000) is None


def test_what_was_granted_before_the_circuit_opened_may_not_go() -> None:
    assert refused_since(OPENED, POLICY, Granted(0), 2000) == RefusedByCircuit(59_999_000)


def test_what_was_granted_before_the_circuit_opened_may_not_go_beside_the_probe_either() -> None:
    probing, _ = admit(OPENED, POLICY, Ask(), 1000 + 60_000_000)

    assert refused_since(probing, POLICY, Granted(0), 1000 + 60_000_000) == RefusedByCircuit(31_000_000)


def test_a_probe_may_go_while_it_is_the_probe() -> None:
    now = 1000 + 60_000_000
    probing, probe = admit(OPENED, POLICY, Ask(), now)
    assert isinstance(probe, Granted)

    assert refused_since(probing, POLICY, probe, now) is None
    failed = settle(probing, POLICY, probe, Settlement.ILL, now)
    assert refused_since(failed, POLICY, probe, now) == RefusedByCircuit(60_000_000)
    closed = settle(probing, POLICY, probe, Settlement.WELL, now)
    assert refused_since(closed, POLICY, probe, now) is None


def test_without_a_breaker_no_circuit_refuses() -> None:
    assert refused_since(OPENED, AdmissionPolicy(breaker=None), Granted(0), 2000) is None


@pytest.mark.parametrize("state", [ProviderState(), OPENED])
def test_an_operators_word_comes_first(state: ProviderState) -> None:
    forced_open = state._replace(override=word(OverrideMode.FORCED_OPEN))

    assert refused_since(forced_open, POLICY, Granted(0), 2000) == RefusedByCircuit(
        3000, forced_by="kim: moving house"
    )
    for mode in (OverrideMode.FORCED_CLOSED, OverrideMode.SHADOW):
        assert refused_since(state._replace(override=word(mode)), POLICY, Granted(0), 2000) is None


def test_a_word_that_holds_no_longer_changes_nothing() -> None:
    over = OPENED._replace(override=word(OverrideMode.FORCED_CLOSED, until=2000))

    assert refused_since(over, POLICY, Granted(0), 2000) == RefusedByCircuit(59_999_000)


@pytest.mark.parametrize(("now", "left"), [(999, 0), (1000, 500), (1499, 1), (1500, 0), (2000, 0)])
def test_what_is_left_of_a_pause_is_told(now: int, left: int) -> None:
    assert paused_since(ProviderState(paused_at=1000, paused_until=1500), now) == left
