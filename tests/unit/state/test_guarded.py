"""The stand-in serves while the store is away, and neither counts what the other granted."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from core.errors import StorageError
from core.policies.admission import (
    Admission,
    AdmissionPolicy,
    Granted,
    RefusedByCircuit,
    RefusedByLimiter,
    Settlement,
)
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.rate_limit import LimitPolicy
from core.state.base import Settled, Snapshot
from core.state.guarded import GuardedState
from core.state.memory import MemoryState
from tests.fakes import NOON, FakeClock

CIRCUIT = "address.juso"
POLICY = AdmissionPolicy(BreakerPolicy(failure_threshold=1), LimitPolicy(max_wait_us=0))


class ShakyState(MemoryState):
    """A store that can be away, and counts how often it was asked."""

    is_away = False
    asked = 0

    def _ask(self) -> None:
        self.asked += 1
        if self.is_away:
            raise StorageError("away")

    def admit(self, circuit: str, policy: AdmissionPolicy, max_wait_us: int) -> Admission:
        self._ask()
        return super().admit(circuit, policy, max_wait_us)

    def settle(
        self,
        circuit: str,
        policy: AdmissionPolicy,
        granted: Granted,
        settlement: Settlement,
        *,
        pause_us: int = 0,
    ) -> Settled:
        self._ask()
        return super().settle(circuit, policy, granted, settlement, pause_us=pause_us)

    def peek(self, circuit: str) -> Snapshot:
        self._ask()
        return super().peek(circuit)

    def read(self, key: str) -> bytes | None:
        self._ask()
        return super().read(key)

    def write(self, key: str, value: bytes, keep_seconds: float) -> None:
        self._ask()
        super().write(key, value, keep_seconds)

    def delete(self, key: str) -> bool:
        self._ask()
        return super().delete(key)

    def delete_pattern(self, pattern: str) -> int:
        self._ask()
        return super().delete_pattern(pattern)


@pytest.fixture
def primary(clock: FakeClock) -> ShakyState:
    """The store that can be away."""
    return ShakyState(clock)


@pytest.fixture
def fallback(clock: FakeClock) -> MemoryState:
    """Its stand-in."""
    return MemoryState(clock)


@pytest.fixture
def state(primary: ShakyState, fallback: MemoryState, clock: FakeClock) -> GuardedState:
    """The two together."""
    return GuardedState(primary, fallback, clock)


def grant(state: GuardedState) -> Granted:
    """An attempt that has to be granted."""
    admission = state.admit(CIRCUIT, POLICY, 0)
    assert isinstance(admission, Granted)
    return admission


def test_while_the_store_works_the_stand_in_is_not_asked(state: GuardedState, fallback: MemoryState) -> None:
    grant(state)
    state.write("k", b"v", 60)

    assert state.read("k") == b"v"
    assert fallback.read("k") is None
    assert not state.is_degraded
    assert state.degraded_since is None


def test_after_a_failure_the_store_is_left_alone_for_a_second(
    state: GuardedState, primary: ShakyState, clock: FakeClock
) -> None:
    primary.is_away = True
    for _ in range(10):
        state.peek(CIRCUIT)
    assert (primary.asked, state.degraded_since) == (1, NOON)

    clock.advance(0.999)
    state.read("k")
    assert primary.asked == 1

    clock.advance(0.001)
    state.read("k")
    state.read("k")
    assert primary.asked == 2


def test_the_store_is_used_again_when_it_is_back_and_each_change_is_logged_once(
    state: GuardedState, primary: ShakyState, clock: FakeClock
) -> None:
    with capture_logs() as logs:
        primary.is_away = True
        for _ in range(5):
            state.read("k")
            clock.advance(1)
        primary.is_away = False
        for _ in range(5):
            state.read("k")

    assert not state.is_degraded
    assert logs == [
        {"event": "state_store_lost", "log_level": "warning", "reason": "away"},
        {"event": "state_store_back", "log_level": "info", "seconds": 5.0},
    ]


def test_what_the_store_granted_is_not_counted_by_the_stand_in(
    state: GuardedState, primary: ShakyState, fallback: MemoryState
) -> None:
    granted = grant(state)
    primary.is_away = True

    settled = state.settle(CIRCUIT, POLICY, granted, Settlement.ILL)

    assert (settled.opened, fallback.peek(CIRCUIT).state.breaker.failures) == (False, 0)


def test_what_the_stand_in_granted_is_counted_by_it_alone(
    state: GuardedState, primary: ShakyState, fallback: MemoryState, clock: FakeClock
) -> None:
    primary.is_away = True
    granted = grant(state)
    primary.is_away = False
    clock.advance(1)

    assert state.settle(CIRCUIT, POLICY, granted, Settlement.ILL).opened
    assert fallback.peek(CIRCUIT).state.breaker.opened_at is not None
    assert isinstance(state.admit(CIRCUIT, POLICY, 0), Granted)


def test_the_stand_in_opens_and_closes_circuits_of_its_own(
    state: GuardedState, primary: ShakyState, clock: FakeClock
) -> None:
    primary.is_away = True
    state.settle(CIRCUIT, POLICY, grant(state), Settlement.ILL)
    assert isinstance(state.admit(CIRCUIT, POLICY, 0), RefusedByCircuit)
    clock.advance(60)

    probe = grant(state)

    assert probe.is_probe
    assert state.settle(CIRCUIT, POLICY, probe, Settlement.WELL).closed


@pytest.mark.parametrize("is_away_first", [True, False])
@pytest.mark.fault("LI-06")
def test_a_pause_holds_whichever_of_the_two_decides_next(
    state: GuardedState, primary: ShakyState, clock: FakeClock, is_away_first: bool
) -> None:
    primary.is_away = is_away_first
    granted = grant(state)
    primary.is_away = not is_away_first
    clock.advance(1)
    state.read("k")

    state.settle(CIRCUIT, POLICY, granted, Settlement.NOTHING, pause_us=30_000_000)

    assert state.admit(CIRCUIT, POLICY, 0) == RefusedByLimiter(30_000_000)


def test_forgetting_is_not_promised_while_the_store_is_away(state: GuardedState, primary: ShakyState) -> None:
    primary.is_away = True
    state.write("k", b"v", 60)

    with pytest.raises(StorageError):
        state.delete("k")
    with pytest.raises(StorageError):
        state.delete_pattern("*")
    assert state.read("k") is None


def test_forgetting_reaches_both(state: GuardedState, primary: ShakyState, clock: FakeClock) -> None:
    """What was kept by the stand-in must not come back when it serves again."""
    primary.is_away = True
    state.write("k:1", b"v", 60)
    primary.is_away = False
    clock.advance(1)
    state.write("k:2", b"v", 60)

    assert state.delete_pattern("k:*") == 2
    assert not state.delete("k:1")
