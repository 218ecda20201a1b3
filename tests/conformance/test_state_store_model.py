"""Every state store against the pure rules: whatever happens, in whatever order, they agree."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)

from core.policies.admission import AdmissionPolicy, Granted, ProviderState, Settlement, admit, settle
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.rate_limit import LimitPolicy
from core.state.base import Settled
from tests.conformance.stores import NAMES, Handle, open_store

CIRCUITS = ("address.juso", "company.nice {1}")
POLICIES = (
    AdmissionPolicy(),
    AdmissionPolicy(
        BreakerPolicy(failure_threshold=1, recovery_us=2_000_000, probe_lease_us=1_000_000), None
    ),
    AdmissionPolicy(
        BreakerPolicy(failure_threshold=2, recovery_us=500_000, probe_lease_us=250_000),
        LimitPolicy(per_minute=30, per_hour=40, max_wait_us=20_000_000),
    ),
    AdmissionPolicy(None, LimitPolicy(per_minute=3, per_hour=7, max_wait_us=0)),
    AdmissionPolicy(None, None),
)
MOMENTS = st.sampled_from(
    [0, 1, 249_999, 250_000, 1_000_000, 2_000_000, 60_000_000, 3_600_000_000]
) | st.integers(0, 100_000_000)
_runs = count()


@dataclass(frozen=True)
class Begun:
    """An attempt that was granted, and what it asked for."""

    circuit: str
    policy: AdmissionPolicy
    granted: Granted


class StoreAgainstRules(RuleBasedStateMachine):
    """One store, and a dictionary to which the pure rules are applied at the store's own time."""

    handle: Handle
    begun: Bundle[Begun] = Bundle("begun")

    def __init__(self) -> None:
        super().__init__()
        run = next(_runs)
        self.names = {circuit: f"{circuit}#{run}" for circuit in CIRCUITS}
        self.model = dict.fromkeys(CIRCUITS, ProviderState())

    @rule(
        target=begun,
        circuit=st.sampled_from(CIRCUITS),
        policy=st.sampled_from(POLICIES),
        wait=st.sampled_from([0, 1_000_000, 60_000_000]),
    )
    def ask(self, circuit: str, policy: AdmissionPolicy, wait: int) -> Begun:
        expected_state, expected = admit(self.model[circuit], policy, self.handle.now_us(), wait)

        assert self.handle.store.admit(self.names[circuit], policy, wait) == expected
        self.model[circuit] = expected_state
        return Begun(circuit, policy, expected if isinstance(expected, Granted) else Granted(0))

    @rule(
        attempt=consumes(begun) | begun,
        settlement=st.sampled_from(Settlement),
        pause=st.sampled_from([0, 0, 0, 1, 5_000_000, 10**13]),
    )
    def end(self, attempt: Begun, settlement: Settlement, pause: int) -> None:
        before = self.model[attempt.circuit]
        after = settle(
            before, attempt.policy, attempt.granted, settlement, self.handle.now_us(), pause_us=pause
        )

        settled = self.handle.store.settle(
            self.names[attempt.circuit], attempt.policy, attempt.granted, settlement, pause_us=pause
        )

        assert settled == Settled.between(before, after)
        self.model[attempt.circuit] = after

    @rule(microseconds=MOMENTS)
    def wait(self, microseconds: int) -> None:
        self.handle.clock.advance(microseconds / 1e6)

    @rule(microseconds=MOMENTS)
    def set_clock_back(self, microseconds: int) -> None:
        self.handle.clock.start_again(microseconds / 1e6)

    @invariant()
    def both_know_the_same(self) -> None:
        for circuit, name in self.names.items():
            assert self.handle.store.peek(name).state == self.model[circuit]


@pytest.mark.property(20)
@pytest.mark.property(22)
@pytest.mark.property(27)
@pytest.mark.fault("BR-03")
@pytest.mark.fault("LI-01")
@pytest.mark.parametrize("name", NAMES)
def test_a_store_decides_as_the_pure_rules_do(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    opened = open_store(name, tmp_path, lambda: str(request.getfixturevalue("empty_redis_url")))
    machine = type("Machine", (StoreAgainstRules,), {"handle": opened})

    run_state_machine_as_test(
        machine,
        # A store on a real server may take its time.
        settings=settings(
            max_examples=40, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow]
        ),
    )

    opened.store.close()
