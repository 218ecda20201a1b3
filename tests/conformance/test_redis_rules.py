"""The scripts of the Redis store against the store of one process: whatever happens, they know and answer the same.

Both live by one clock, which a test moves and sets back. Half of what is asked is asked from an event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import NamedTuple, TypeVar

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from core.model.calling import CallClass, LimitMode
from core.policies.admission import AdmissionPolicy, Ask, Granted, Settlement
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.override import OverrideMode
from core.policies.rate_limit import LimitPolicy
from core.policies.retry_budget import RetryBudget
from core.state.base import Ended, Keep, Release, Settle, Wanted
from core.state.encoding import encode
from core.state.memory import MemoryState
from core.state.redis import RedisState
from tests.fakes import FakeClock

T = TypeVar("T")

numbers = count()

CIRCUITS = ("address.juso", "company.nice {1}")
KEYS = ("address:search:1", "address:search:2", "가:나")
OWNERS = ("first", "second", "the third")
SECOND = 1_000_000
BREAKERS = st.builds(
    BreakerPolicy,
    failure_threshold=st.integers(1, 4),
    recovery_us=st.sampled_from([1, 500_000, 2 * SECOND]),
    probe_lease_us=st.sampled_from([250_000, SECOND]),
    probes=st.integers(1, 3),
    probes_by_check=st.booleans(),
)
BREAKERS_BY_SHARE = st.builds(
    BreakerPolicy,
    failure_threshold=st.just(100),
    recovery_us=st.just(1),
    failure_percent=st.sampled_from([0, 30, 50, 100]),
    slow_percent=st.sampled_from([0, 1, 50]),
    window_us=st.sampled_from([7, 10 * SECOND, 10 * SECOND]),
    minimum_calls=st.integers(2, 6),
)
LIMITS = st.builds(
    LimitPolicy,
    per_minute=st.integers(1, 12),
    per_hour=st.integers(1, 30),
    max_wait_us=st.sampled_from([0, 20 * SECOND, 300 * SECOND]),
    mode=st.sampled_from(LimitMode),
    reserved_percent=st.sampled_from([0, 20, 50]),
)
BUDGETS = st.builds(RetryBudget, st.integers(1, 5), st.sampled_from([0, 10, 40]))
POLICIES = st.builds(
    AdmissionPolicy,
    st.none() | BREAKERS | BREAKERS_BY_SHARE | BREAKERS_BY_SHARE,
    st.none() | LIMITS | LIMITS,
    st.none() | BUDGETS,
)
MOMENTS = st.sampled_from(
    [0, 1, 249_999, 250_000, SECOND, 2 * SECOND, 10 * SECOND, 60 * SECOND, 3_600 * SECOND]
) | st.integers(0, 100 * SECOND)
PATIENCE = st.sampled_from([0, SECOND, 60 * SECOND, 4_000 * SECOND])
FOR_EVER = 1e6
"""So many seconds are neither over nor to come again, however the clock is set. (Redis forgets by its own.)"""


class SameTime(MemoryState):
    """The store of one process, which takes its time from the same clock as the other."""

    def _now(self) -> int:
        return (self._clock.now() - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


class Begun(NamedTuple):
    """An attempt that was granted, and what it asked for."""

    circuit: str
    policy: AdmissionPolicy
    granted: Granted


class ScriptsAgainstRules(RuleBasedStateMachine):
    """Both stores, told the same."""

    url: str
    runner: asyncio.Runner
    begun: Bundle[Begun] = Bundle("begun")

    def __init__(self) -> None:
        super().__init__()
        with redis.Redis.from_url(self.url) as server:
            server.flushdb()
        self.clock = FakeClock()
        self.pure = SameTime(self.clock)
        self.scripts = RedisState(self.url, self.clock, patience=10)

    def teardown(self) -> None:
        self.scripts.close()

    @initialize(policies=st.lists(POLICIES, min_size=1, max_size=2))
    def choose_policies(self, policies: list[AdmissionPolicy]) -> None:
        """Some that are configured one after the other."""
        self.policies = policies

    def wait_for(self, coroutine: Coroutine[None, None, T]) -> T:
        return self.runner.run(coroutine)

    @rule(
        target=begun,
        circuit=st.sampled_from(CIRCUITS),
        number=st.integers(0, 1),
        ask=st.builds(Ask, PATIENCE, st.sampled_from(CallClass), st.booleans()),
        wanted=st.none()
        | st.builds(
            Wanted,
            st.sampled_from(KEYS),
            st.sampled_from(OWNERS),
            st.sampled_from([1, SECOND, 30 * SECOND]),
            st.booleans(),
            st.booleans(),
        ),
        from_loop=st.booleans(),
    )
    def ask(self, circuit: str, number: int, ask: Ask, wanted: Wanted | None, from_loop: bool) -> Begun:
        policy = self.policies[number % len(self.policies)]
        expected = self.pure.open(circuit, policy, ask, wanted)

        if from_loop:
            opening = self.wait_for(self.scripts.aopen(circuit, policy, ask, wanted))
        else:
            opening = self.scripts.open(circuit, policy, ask, wanted)

        assert opening == expected
        return Begun(circuit, policy, opening.outcome if isinstance(opening.outcome, Granted) else Granted(0))

    @rule(
        attempt=consumes(begun) | begun,
        settlement=st.sampled_from(Settlement),
        pause=st.sampled_from([0, 0, 0, 1, 5 * SECOND, 10**13]),
        is_slow=st.booleans(),
        how=st.sampled_from(["at once", "from a loop", "later"]),
    )
    def end(self, attempt: Begun, settlement: Settlement, pause: int, is_slow: bool, how: str) -> None:
        ended = Ended(attempt.granted, settlement, pause, is_slow)
        expected = self.pure.settle(attempt.circuit, attempt.policy, ended)

        if how == "later":
            self.scripts.later(Settle(attempt.circuit, attempt.policy, ended))
            self.scripts.flush()
            return
        if how == "from a loop":
            settled = self.wait_for(self.scripts.asettle(attempt.circuit, attempt.policy, ended))
        else:
            settled = self.scripts.settle(attempt.circuit, attempt.policy, ended)

        assert settled == expected

    @rule(
        late=st.builds(
            Keep,
            st.sampled_from(KEYS),
            st.sampled_from(OWNERS),
            st.builds(partial, st.just(bytes), st.binary(max_size=3)),
            st.just(3),
            st.sampled_from([-FOR_EVER, FOR_EVER]),
            st.just(FOR_EVER),
        )
        | st.builds(
            Release,
            st.sampled_from(KEYS),
            st.sampled_from(OWNERS),
            st.none() | st.binary(max_size=3) | st.just(b"two words\n\x00"),
            st.sampled_from([1, SECOND]),
        )
    )
    def end_lease(self, late: Keep | Release) -> None:
        for store in (self.pure, self.scripts):
            store.later(late)
            store.flush()

    @rule(
        circuit=st.sampled_from(CIRCUITS),
        mode=st.none() | st.sampled_from(OverrideMode),
        seconds=st.sampled_from([0, 1.5, 3_600]),
        by=st.sampled_from(["", "me", "나 & you"]),
    )
    def steer(self, circuit: str, mode: OverrideMode | None, seconds: float, by: str) -> None:
        expected = self.pure.steer(circuit, mode, seconds=seconds, by=by, reason=by * 2)

        assert self.scripts.steer(circuit, mode, seconds=seconds, by=by, reason=by * 2) == expected

    @rule(key=st.sampled_from(KEYS))
    def forget(self, key: str) -> None:
        assert self.scripts.delete(key) == self.pure.delete(key)

    @rule(pattern=st.sampled_from(["*", "address:*", "*:나"]))
    def forget_pattern(self, pattern: str) -> None:
        assert self.scripts.delete_pattern(pattern) == self.pure.delete_pattern(pattern)

    @rule(microseconds=MOMENTS)
    def wait(self, microseconds: int) -> None:
        self.clock.advance(microseconds / 1e6)

    @rule(microseconds=MOMENTS)
    def set_clock_back(self, microseconds: int) -> None:
        self.clock.set_back(microseconds / 1e6)

    @invariant()
    def both_know_the_same(self) -> None:
        for circuit in CIRCUITS:
            expected, found = self.pure.peek(circuit), self.scripts.peek(circuit)
            assert encode(found.state) == encode(expected.state)
            assert found == expected
        for key in KEYS:
            assert self.scripts.read(key) == self.pure.read(key)


@pytest.mark.property(20)
@pytest.mark.property(22)
@pytest.mark.property(27)
@pytest.mark.fault("BR-03")
@pytest.mark.fault("LI-01")
def test_the_scripts_decide_as_the_pure_rules_do(empty_redis_url: str) -> None:
    with asyncio.Runner() as runner:
        machine = type("Machine", (ScriptsAgainstRules,), {"url": empty_redis_url, "runner": runner})

        run_state_machine_as_test(
            machine,
            # A store on a real server may take its time.
            settings=settings(
                max_examples=60, stateful_step_count=50, suppress_health_check=[HealthCheck.too_slow]
            ),
        )


class Step(NamedTuple):
    """One attempt and how it ends, `after` the one before, or before it: then the clock was set back.

    Another may end (again) instead, that was granted `late` attempts ago.
    """

    after: int
    ask: Ask
    settlement: Settlement
    pause: int
    is_slow: bool
    late: int


AFTER = [
    0,
    0,
    1,
    7,
    249_999,
    250_000,
    500_000,
    SECOND,
    SECOND,
    2 * SECOND,
    9 * SECOND,
    60 * SECOND,
    -SECOND,
    -600 * SECOND,
]
STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(AFTER),
        st.builds(Ask, st.just(300 * SECOND), st.sampled_from(CallClass), st.booleans()),
        st.sampled_from([Settlement.WELL, Settlement.ILL, Settlement.ILL, *Settlement]),
        st.sampled_from([0, 0, 0, 0, 1, SECOND, 5 * SECOND]),
        st.booleans(),
        st.sampled_from([0, 0, 0, 0, 1, 2]),
    ),
    min_size=20,
    max_size=60,
)


@pytest.mark.property(20)
@pytest.mark.property(22)
# Each example has a circuit of its own in the one database, and a store on a real server may take its time.
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(policy=POLICIES, steps=STEPS)
def test_attempts_that_follow_each_other_come_to_the_same(
    empty_redis_url: str, policy: AdmissionPolicy, steps: list[Step]
) -> None:
    clock = FakeClock()
    pure, scripts = SameTime(clock), RedisState(empty_redis_url, clock, patience=10)
    circuit = f"address.{next(numbers)}"
    begun = [Granted(0)]
    for step in steps:
        clock.advance(max(0, step.after) / 1e6)
        clock.set_back(max(0, -step.after) / 1e6)
        opening = scripts.open(circuit, policy, step.ask)
        assert opening == pure.open(circuit, policy, step.ask)
        if isinstance(opening.outcome, Granted):
            begun.append(opening.outcome)
        ended = Ended(begun[-1 - step.late % len(begun)], step.settlement, step.pause, step.is_slow)
        assert scripts.settle(circuit, policy, ended) == pure.settle(circuit, policy, ended)
    scripts.close()
