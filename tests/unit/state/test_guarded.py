"""The stand-in serves while the store is away, and neither counts what the other granted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from core.clock import SystemClock
from core.errors import StorageError
from core.policies.admission import (
    AdmissionPolicy,
    Ask,
    Granted,
    RefusedByCircuit,
    RefusedByLimiter,
    Settlement,
)
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.override import OverrideMode
from core.policies.rate_limit import LimitPolicy
from core.state.base import Ended, FetchedElsewhere, Keep, Opening, Release, Settle, Settled, Wanted
from core.state.guarded import GuardedState
from core.state.memory import MemoryState
from core.state.presence import REGISTER, Presence
from tests.fakes import NOON, FakeChance, FakeClock
from tests.forked import in_child
from tests.shaky import ShakyState
from tests.waiting import until

CIRCUIT = "address.juso"
KEY = "address:search:1"
POLICY = AdmissionPolicy(BreakerPolicy(failure_threshold=1), LimitPolicy(max_wait_us=0))
FRAGILE = AdmissionPolicy(BreakerPolicy(failure_threshold=1), None)
SECOND = 1_000_000


class Guard:
    """A store that can be away, its stand-in and the two together: asked by a thread, or by an event loop."""

    def __init__(self, clock: FakeClock, *, in_loop: bool) -> None:
        self.clock = clock
        self.primary = ShakyState(clock)
        self.fallback = MemoryState(clock)
        self.state = GuardedState(self.primary, self.fallback, clock, FakeChance([0.5]), in_background=False)
        self._in_loop = in_loop

    def open(self, policy: AdmissionPolicy = POLICY, wanted: Wanted | None = None) -> Opening:
        """The first step of a call that does not wait."""
        if self._in_loop:
            return asyncio.run(self.state.aopen(CIRCUIT, policy, Ask(), wanted))
        return self.state.open(CIRCUIT, policy, Ask(), wanted)

    def grant(self, policy: AdmissionPolicy = POLICY) -> Granted:
        """An attempt that has to be granted."""
        outcome = self.open(policy).outcome
        assert isinstance(outcome, Granted), outcome
        return outcome

    def settle(
        self,
        granted: Granted,
        settlement: Settlement = Settlement.ILL,
        policy: AdmissionPolicy = POLICY,
        pause_us: int = 0,
    ) -> Settled:
        """Tell how an attempt ended."""
        ended = Ended(granted, settlement, pause_us)
        if self._in_loop:
            return asyncio.run(self.state.asettle(CIRCUIT, policy, ended))
        return self.state.settle(CIRCUIT, policy, ended)

    def lose(self) -> None:
        """The store goes away, and someone meets that."""
        self.primary.is_away = True
        self.state.read(KEY)

    def find_again(self) -> None:
        """The store is back, and that is found out."""
        self.primary.is_away = False
        self.clock.advance(1)
        self.state.tend()
        assert not self.state.is_degraded


@pytest.fixture(params=[False, True], ids=["thread", "event loop"])
def guard(clock: FakeClock, request: pytest.FixtureRequest) -> Guard:
    """A guard whose store is there."""
    return Guard(clock, in_loop=request.param)


class TestLosingAndFinding:
    def test_while_the_store_works_the_stand_in_decides_nothing(self, guard: Guard) -> None:
        guard.grant()
        guard.state.write(KEY, b"v", 60)

        assert guard.state.read(KEY) == b"v"
        assert guard.fallback.read(KEY) is None
        assert guard.fallback.peek(CIRCUIT).state.booked.reserved_minute_full_at == 0
        assert (guard.state.is_degraded, guard.state.degraded_since) == (False, None)

    @pytest.mark.fault("CA-07")
    def test_one_call_meets_the_failure_and_none_after_it(self, guard: Guard) -> None:
        guard.primary.is_away = True
        guard.clock.advance(5)

        for _ in range(10):
            guard.grant(FRAGILE)

        assert guard.primary.asked == 1
        assert guard.state.degraded_since == guard.clock.now() != NOON

    def test_no_call_ever_asks_whether_the_store_is_back(self, guard: Guard) -> None:
        guard.lose()
        guard.clock.advance(3600)

        guard.grant(FRAGILE)

        assert guard.primary.asked == 1

    def test_it_is_asked_about_once_a_second_behind_the_callers(self, guard: Guard) -> None:
        guard.lose()

        guard.clock.advance(0.999)
        guard.state.tend()
        assert guard.primary.asked == 1
        for _ in range(3):
            guard.clock.advance(1)
            guard.state.tend()
            guard.state.tend()

        assert guard.primary.asked == 4
        assert guard.state.is_degraded

    def test_chance_spreads_when_it_is_asked(self, clock: FakeClock) -> None:
        store = ShakyState(clock)
        state = GuardedState(store, MemoryState(clock), clock, FakeChance([0.0]), in_background=False)
        store.is_away = True
        state.peek(CIRCUIT)

        clock.advance(0.5)
        state.tend()

        assert store.asked == 2

    def test_each_change_is_logged_once(self, guard: Guard) -> None:
        with capture_logs() as logs:
            guard.lose()
            for _ in range(4):
                guard.clock.advance(1)
                guard.state.tend()
            guard.find_again()
            guard.state.tend()

        assert logs == [
            {"event": "state_store_lost", "log_level": "warning", "reason": "away", "processes": 1},
            {"event": "state_store_back", "log_level": "info", "seconds": 5.0},
        ]

    def test_every_way_to_the_store_finds_out_that_it_is_away(self, clock: FakeClock) -> None:
        ways: list[Callable[[GuardedState], object]] = [
            lambda state: state.open(CIRCUIT, POLICY, Ask()),
            lambda state: asyncio.run(state.aopen(CIRCUIT, POLICY, Ask())),
            lambda state: state.settle(CIRCUIT, POLICY, Ended(Granted(0), Settlement.ILL)),
            lambda state: asyncio.run(state.asettle(CIRCUIT, POLICY, Ended(Granted(0), Settlement.ILL))),
            lambda state: state.peek(CIRCUIT),
            lambda state: state.read(KEY),
            lambda state: state.write(KEY, b"v", 60),
            lambda state: state.tend(),
        ]
        for way in ways:
            store = ShakyState(clock)
            store.is_away = True
            state = GuardedState(store, MemoryState(clock), clock, in_background=False)

            way(state)

            assert state.is_degraded


class FullAtTimes(ShakyState):
    """A store that has room for small values alone while it is short of it: none for a decision."""

    is_short = False

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.neighbour = Presence()
        """Another process that shares it."""

    def open(self, circuit: str, policy: AdmissionPolicy, ask: Ask, wanted: Wanted | None = None) -> Opening:
        if self.is_short:
            raise StorageError("full")
        return super().open(circuit, policy, ask, wanted)


class TestAStoreThatCanOnlyBeRead:
    def test_it_is_not_back_before_it_can_be_written_to(self, guard: Guard) -> None:
        guard.primary.is_full = True
        with capture_logs() as logs:
            for _ in range(10):
                guard.open(FRAGILE)
                guard.clock.advance(1)
                guard.state.tend()
                assert guard.state.is_degraded
        assert [line["event"] for line in logs] == ["state_store_lost"]

        guard.primary.is_full = False
        guard.find_again()

        assert guard.primary.open(CIRCUIT, FRAGILE, Ask()).outcome == guard.open(FRAGILE).outcome

    def test_a_dead_provider_is_called_no_more_often_than_its_circuit_allows(self, guard: Guard) -> None:
        guard.primary.is_full = True
        reached = 0
        for _ in range(59):
            if isinstance(outcome := guard.open(FRAGILE).outcome, Granted):
                reached += 1
                guard.settle(outcome, policy=FRAGILE)
            guard.clock.advance(1)
            guard.state.tend()

        assert reached == 1

    def test_that_a_process_was_there_is_noted_when_the_store_is_found_again_and_not_twice(
        self, guard: Guard
    ) -> None:
        guard.lose()
        guard.find_again()
        asked = guard.primary.asked
        assert guard.primary.read(REGISTER) is not None

        guard.state.tend()

        assert guard.primary.asked == asked + 1


class TestAStoreThatIsBackForAMomentOnly:
    """Its return can be written to it, and nothing else."""

    @pytest.fixture
    def store(self, clock: FakeClock) -> FullAtTimes:
        """Such a store, which two processes share."""
        store = FullAtTimes(clock)
        store.neighbour.beat(store)
        return store

    @pytest.fixture
    def state(self, store: FullAtTimes, clock: FakeClock) -> GuardedState:
        """A process that knows of the other, and has used the store."""
        state = GuardedState(store, MemoryState(clock), clock, FakeChance([0.5]), in_background=False)
        state.tend()
        assert state.processes == 2
        assert isinstance(state.open(CIRCUIT, FRAGILE, Ask()).outcome, Granted)
        return state

    @staticmethod
    def flap(state: GuardedState, store: FullAtTimes, clock: FakeClock) -> None:
        """Back for a moment, in which nothing is decided."""
        clock.advance(1)
        store.neighbour.beat(store)
        state.tend()
        assert not state.is_degraded
        assert store.is_short

    def test_a_circuit_that_the_stand_in_opened_stays_open(
        self, state: GuardedState, store: FullAtTimes, clock: FakeClock
    ) -> None:
        store.is_short = True
        granted = state.open(CIRCUIT, FRAGILE, Ask()).outcome
        assert isinstance(granted, Granted)
        state.settle(CIRCUIT, FRAGILE, Ended(granted, Settlement.ILL))

        for second in range(1, 60):
            self.flap(state, store, clock)
            outcome = state.open(CIRCUIT, FRAGILE, Ask()).outcome
            assert outcome == RefusedByCircuit((60 - second) * SECOND)

    def test_what_it_said_before_it_was_first_lost_does_not_undo_what_was_learnt_since(
        self, state: GuardedState, store: FullAtTimes, clock: FakeClock
    ) -> None:
        store.is_short = True
        granted = state.open(CIRCUIT, FRAGILE, Ask()).outcome
        assert isinstance(granted, Granted)
        state.settle(CIRCUIT, FRAGILE, Ended(granted, Settlement.ILL))
        self.flap(state, store, clock)
        store.is_short = False
        state.open("address.kakao", FRAGILE, Ask())
        store.is_short = True

        assert state.open(CIRCUIT, FRAGILE, Ask()).outcome == RefusedByCircuit(59 * SECOND)

    def test_the_buckets_fill_all_the_same(
        self, state: GuardedState, store: FullAtTimes, clock: FakeClock
    ) -> None:
        store.is_short = True
        went = 0
        for _ in range(120):
            went += isinstance(state.open(CIRCUIT, POLICY, Ask()).outcome, Granted)
            self.flap(state, store, clock)

        assert went > 0

    @pytest.mark.parametrize("user", ["this process", "another, it may be", "nobody"])
    def test_a_store_that_was_of_use_begins_the_buckets_anew(
        self, state: GuardedState, store: FullAtTimes, clock: FakeClock, user: str
    ) -> None:
        store.is_short = True
        state.open(CIRCUIT, POLICY, Ask())
        clock.advance(120)
        self.flap(state, store, clock)
        if user == "this process":
            store.is_short = False
            state.open(CIRCUIT, POLICY, Ask())
            store.is_short = True
        elif user == "another, it may be":
            clock.advance(10)
            state.tend()

        outcome = state.open(CIRCUIT, POLICY, Ask()).outcome

        assert isinstance(outcome, Granted if user == "nobody" else RefusedByLimiter)


class TestGrants:
    def test_what_the_store_granted_is_not_counted_by_the_stand_in(self, guard: Guard) -> None:
        granted = guard.grant()
        guard.primary.is_away = True

        settled = guard.settle(granted)

        assert (settled.opened, guard.fallback.peek(CIRCUIT).state.breaker.failures) == (False, 0)

    @pytest.mark.parametrize("mode", [None, OverrideMode.FORCED_CLOSED])
    def test_what_the_stand_in_granted_is_counted_by_it_alone(
        self, guard: Guard, mode: OverrideMode | None
    ) -> None:
        guard.lose()
        granted = guard.grant(FRAGILE)
        guard.find_again()
        guard.state.steer(CIRCUIT, mode, seconds=60)
        of_the_store = guard.grant(FRAGILE)

        assert guard.settle(granted, policy=FRAGILE).opened
        assert guard.fallback.peek(CIRCUIT).state.breaker.opened_at is not None
        assert guard.primary.peek(CIRCUIT).state.breaker.opened_at is None
        assert guard.settle(of_the_store, policy=FRAGILE).opened is (mode is None)

    def test_what_is_told_later_goes_to_whichever_granted_it(self, guard: Guard) -> None:
        of_the_store = guard.grant(FRAGILE)
        guard.lose()
        of_the_stand_in = guard.grant(FRAGILE)
        guard.state.later(Settle(CIRCUIT, FRAGILE, Ended(of_the_store, Settlement.ILL)))
        assert guard.fallback.peek(CIRCUIT).state.breaker.opened_at is None
        guard.find_again()

        guard.state.later(Settle(CIRCUIT, FRAGILE, Ended(of_the_stand_in, Settlement.ILL)))
        assert guard.fallback.peek(CIRCUIT).state.breaker.opened_at is not None
        assert guard.primary.peek(CIRCUIT).state.breaker.opened_at is None

        guard.state.later(Settle(CIRCUIT, FRAGILE, Ended(of_the_store, Settlement.ILL)))
        assert guard.primary.peek(CIRCUIT).state.breaker.opened_at is not None

    def test_the_stand_in_opens_and_closes_circuits_of_its_own(self, guard: Guard) -> None:
        guard.lose()
        guard.settle(guard.grant(FRAGILE), policy=FRAGILE)
        assert isinstance(guard.open(FRAGILE).outcome, RefusedByCircuit)
        guard.clock.advance(60)

        probe = guard.grant(FRAGILE)

        assert probe.is_probe
        assert guard.settle(probe, Settlement.WELL, FRAGILE).closed

    @pytest.mark.parametrize("is_away_first", [True, False])
    @pytest.mark.parametrize("is_told_later", [True, False])
    @pytest.mark.fault("LI-06")
    def test_a_pause_holds_whichever_of_the_two_decides_next(
        self, guard: Guard, is_away_first: bool, is_told_later: bool
    ) -> None:
        if is_away_first:
            guard.lose()
        granted = guard.grant()
        if is_away_first:
            guard.find_again()
        ended = Ended(granted, Settlement.NOTHING, 30 * SECOND)

        if is_told_later:
            guard.state.later(Settle(CIRCUIT, POLICY, ended))
        else:
            guard.settle(granted, Settlement.NOTHING, pause_us=30 * SECOND)

        before = guard.open().outcome
        guard.lose()
        for outcome in (before, guard.open().outcome):
            assert isinstance(outcome, RefusedByLimiter)
            assert outcome.retry_after_us == 30 * SECOND


class TestAnswers:
    def test_what_was_kept_before_is_there_when_the_store_is_lost(self, guard: Guard) -> None:
        guard.state.later(Keep(KEY, "one", lambda: b"v", 1, 60, 120))

        guard.lose()

        assert guard.open(FRAGILE, Wanted(KEY, "one", SECOND)) == Opening(b"v", None)

    def test_leases_hold_within_the_process_while_the_store_is_away(self, guard: Guard) -> None:
        guard.lose()
        guard.open(FRAGILE, Wanted(KEY, "one", SECOND))
        assert guard.open(FRAGILE, Wanted(KEY, "other", SECOND)).outcome == FetchedElsewhere(SECOND)

        guard.state.later(Release(KEY, "one"))

        assert isinstance(guard.open(FRAGILE, Wanted(KEY, "other", SECOND)).outcome, Granted)

    def test_what_is_told_later_is_not_told_to_a_store_that_is_away(self, guard: Guard) -> None:
        guard.lose()

        guard.state.later(Keep(KEY, "one", lambda: b"v", 1, 60, 120))
        guard.state.later(Release(KEY, "one"))

        assert (guard.primary.dropped, guard.state.read(KEY)) == (0, b"v")

    def test_forgetting_is_not_promised_while_the_store_is_away(self, guard: Guard) -> None:
        guard.primary.is_away = True
        guard.state.write(KEY, b"v", 60)

        with pytest.raises(StorageError):
            guard.state.delete(KEY)
        assert guard.state.read(KEY) is None
        guard.state.write(KEY, b"v", 60)
        with pytest.raises(StorageError):
            guard.state.delete_pattern("*")
        assert guard.state.read(KEY) is None

    def test_forgetting_reaches_both_and_counts_what_the_store_had(self, guard: Guard) -> None:
        """What was kept by the stand-in must not come back when it serves again."""
        guard.lose()
        guard.state.write("k:1", b"v", 60)
        guard.find_again()
        guard.state.write("k:2", b"v", 60)

        assert guard.state.delete_pattern("k:*") == 1
        assert not guard.state.delete("k:1")
        guard.lose()
        assert guard.state.read("k:1") is None


class TestOperators:
    def test_an_operators_word_holds_when_the_store_is_lost(self, guard: Guard) -> None:
        guard.state.steer(CIRCUIT, OverrideMode.FORCED_OPEN, seconds=60, by="kim", reason="r")

        guard.lose()

        assert guard.open(FRAGILE).outcome == RefusedByCircuit(60 * SECOND, forced_by="kim: r")

    def test_a_word_that_the_store_does_not_hear_holds_here_and_is_reported(self, guard: Guard) -> None:
        guard.lose()

        with pytest.raises(StorageError):
            guard.state.steer(CIRCUIT, OverrideMode.FORCED_OPEN, seconds=60, by="kim", reason="r")

        assert guard.open(FRAGILE).outcome == RefusedByCircuit(60 * SECOND, forced_by="kim: r")


class TestItsOwnThread:
    """On the real clock: what is shown is that someone tends to the store, and that nothing is left behind."""

    @staticmethod
    def tenders() -> int:
        return sum(thread.name == "bongsu-state" for thread in threading.enumerate())

    def test_the_store_is_found_again_without_any_call_and_the_thread_ends_with_the_guard(self) -> None:
        clock = SystemClock()
        store = ShakyState(clock)
        state = GuardedState(store, MemoryState(clock), clock, lambda: -0.45)
        assert self.tenders() == 0
        state.open(CIRCUIT, POLICY, Ask())
        assert self.tenders() == 1

        store.is_away = True
        state.open(CIRCUIT, POLICY, Ask())
        assert state.is_degraded
        store.is_away = False

        until(lambda: not state.is_degraded, what="the way back")
        state.close()
        assert self.tenders() == 0

    def test_a_store_that_is_lost_at_the_first_look_is_tended_to_as_well(self) -> None:
        clock = SystemClock()
        store = ShakyState(clock)
        store.is_away = True
        state = GuardedState(store, MemoryState(clock), clock, lambda: -0.45)
        state.peek(CIRCUIT)
        store.is_away = False

        until(lambda: not state.is_degraded, what="the way back")
        state.close()

    def test_processes_are_counted_while_calls_are_made(self) -> None:
        clock = SystemClock()
        store = MemoryState(clock)
        states = [GuardedState(store, MemoryState(clock), clock, lambda: -0.495) for _ in range(3)]
        for state in states:
            state.open(CIRCUIT, POLICY, Ask())

        until(lambda: [state.processes for state in states] == [3, 3, 3], what="the count")
        for state in states:
            state.close()

    def test_a_forked_child_has_its_store_tended_to_as_well(self) -> None:
        clock = SystemClock()
        store = ShakyState(clock)
        state = GuardedState(store, MemoryState(clock), clock, lambda: -0.45)
        state.open(CIRCUIT, POLICY, Ask())

        def lose_and_find() -> None:
            store.is_away = True
            state.open(CIRCUIT, POLICY, Ask())
            store.is_away = False
            until(lambda: not state.is_degraded, what="the way back")

        assert in_child(lose_and_find)
        state.close()

    def test_while_the_machine_gives_out_no_threads_calls_go_on_and_the_next_one_tries_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        clock = SystemClock()
        state = GuardedState(MemoryState(clock), MemoryState(clock), clock)
        with monkeypatch.context() as without_threads:
            without_threads.setattr(threading.Thread, "start", refuse)
            assert isinstance(state.open(CIRCUIT, POLICY, Ask()).outcome, Granted)
            assert self.tenders() == 0

        state.open(CIRCUIT, POLICY, Ask())

        assert self.tenders() == 1
        state.close()
        state.open(CIRCUIT, POLICY, Ask())
        assert self.tenders() == 0
