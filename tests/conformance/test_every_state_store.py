"""How every state store guards a provider: circuit, limits, retry budget and operator. Each of them has to do it."""

from __future__ import annotations

import threading

import pytest

from core.model.calling import CallClass, LimitMode
from core.policies.admission import (
    AdmissionPolicy,
    Granted,
    ProviderState,
    RefusedByCircuit,
    RefusedByLimiter,
    Settlement,
)
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.override import OverrideMode
from core.policies.rate_limit import Bookings, LimitPolicy
from core.policies.retry_budget import RetryBudget
from tests.conformance.stores import CIRCUIT, SECOND, Handle, refused_for

BREAKER = AdmissionPolicy(limits=None, budget=None)
LIMITS = AdmissionPolicy(breaker=None, limits=LimitPolicy(20, 1000, reserved_percent=0), budget=None)
FREE = AdmissionPolicy(breaker=None, limits=None, budget=None)
DAY = 86_400.0


class TestCircuits:
    def test_a_circuit_never_heard_of_is_closed(self, handle: Handle) -> None:
        granted = handle.granted(AdmissionPolicy())

        assert (granted.generation, granted.is_probe, granted.wait_us, granted.owes) == (0, False, 0, False)
        assert (granted.seen, granted.at) == (Bookings(), handle.now_us())

    @pytest.mark.property(20)
    def test_exactly_five_failures_in_a_row_open_it(self, handle: Handle) -> None:
        for _ in range(4):
            granted = handle.granted(BREAKER)
            assert not handle.settle(BREAKER, granted, Settlement.ILL).opened

        granted = handle.granted(BREAKER)

        assert handle.settle(BREAKER, granted, Settlement.ILL).opened
        assert handle.admit(BREAKER) == RefusedByCircuit(60_000_000)

    def test_a_success_begins_the_count_again(self, handle: Handle) -> None:
        handle.fail(BREAKER, 4)
        handle.settle(BREAKER, handle.granted(BREAKER), Settlement.WELL)
        handle.fail(BREAKER, 4)

        assert isinstance(handle.admit(BREAKER), Granted)

    def test_one_circuit_knows_nothing_of_another(self, handle: Handle) -> None:
        handle.fail(BREAKER, 5)

        assert isinstance(handle.admit(BREAKER, circuit="address.kakao"), Granted)

    @pytest.mark.property(22)
    def test_after_the_recovery_time_one_probe_passes_and_no_second_one(self, handle: Handle) -> None:
        handle.fail(BREAKER, 5)
        handle.pass_time(59)
        assert handle.admit(BREAKER) == RefusedByCircuit(1_000_000)

        handle.pass_time(1)

        assert handle.granted(BREAKER).is_probe
        assert handle.admit(BREAKER) == RefusedByCircuit(31_000_000)

    def test_a_probe_that_succeeds_closes_the_circuit(self, handle: Handle) -> None:
        handle.fail(BREAKER, 5)
        handle.pass_time(60)

        settled = handle.settle(BREAKER, handle.granted(BREAKER), Settlement.WELL)

        assert (settled.opened, settled.closed) == (False, True)
        assert not handle.granted(BREAKER).is_probe

    def test_a_probe_that_fails_opens_the_circuit_again(self, handle: Handle) -> None:
        handle.fail(BREAKER, 5)
        handle.pass_time(60)

        settled = handle.settle(BREAKER, handle.granted(BREAKER), Settlement.ILL)

        assert (settled.opened, settled.closed) == (True, False)
        assert handle.admit(BREAKER) == RefusedByCircuit(60_000_000)

    def test_a_probe_that_proves_nothing_makes_room_for_the_next(self, handle: Handle) -> None:
        handle.fail(BREAKER, 5)
        handle.pass_time(60)
        handle.settle(BREAKER, handle.granted(BREAKER), Settlement.NOTHING)

        assert handle.granted(BREAKER).is_probe

    @pytest.mark.fault("BR-01")
    def test_of_fifty_threads_at_a_half_open_circuit_one_probes(self, handle: Handle) -> None:
        handle.fail(BREAKER, 5)
        handle.pass_time(60)
        barrier = threading.Barrier(50)
        admissions = []

        def ask() -> None:
            barrier.wait()
            admissions.append(handle.admit(BREAKER))

        threads = [threading.Thread(target=ask) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sum(isinstance(admission, Granted) for admission in admissions) == 1
        assert sum(admission == RefusedByCircuit(31_000_000) for admission in admissions) == 49

    @pytest.mark.fault("BR-02")
    def test_a_probe_whose_caller_died_holds_the_others_off_for_its_lease_alone(self, handle: Handle) -> None:
        handle.fail(BREAKER, 5)
        handle.pass_time(60)
        handle.granted(BREAKER)

        handle.pass_time(31)

        assert handle.granted(BREAKER).is_probe

    def test_a_probe_that_waits_for_its_turn_keeps_its_lease(self, handle: Handle) -> None:
        policy = AdmissionPolicy(
            BreakerPolicy(failure_threshold=1, recovery_us=SECOND, probe_lease_us=100_000),
            LimitPolicy(per_minute=6, per_hour=1000, max_wait_us=30 * SECOND, reserved_percent=0),
        )
        handle.fail(policy, 1)
        handle.pass_time(1)

        granted = handle.granted(policy, wait=30)

        assert (granted.generation, granted.is_probe, granted.wait_us) == (2, True, 9_000_000)
        assert handle.admit(policy, wait=30) == RefusedByCircuit(9_100_000)

    @pytest.mark.fault("BR-04")
    @pytest.mark.parametrize("settlement", list(Settlement))
    def test_the_late_result_of_an_attempt_begun_before_changes_nothing(
        self, handle: Handle, settlement: Settlement
    ) -> None:
        late = handle.granted(BREAKER)
        handle.fail(BREAKER, 5)
        before = handle.store.peek(CIRCUIT).state

        settled = handle.settle(BREAKER, late, settlement)

        assert (settled.state, settled.opened, settled.closed) == (before, False, False)

    @pytest.mark.fault("BR-04")
    @pytest.mark.parametrize("settlement", list(Settlement))
    def test_the_late_result_of_a_probe_given_up_leaves_the_next_probe_alone(
        self, handle: Handle, settlement: Settlement
    ) -> None:
        handle.fail(BREAKER, 5)
        handle.pass_time(60)
        given_up = handle.granted(BREAKER)
        handle.pass_time(31)
        handle.granted(BREAKER)

        handle.settle(BREAKER, given_up, settlement)

        assert handle.admit(BREAKER) == RefusedByCircuit(31_000_000)

    @pytest.mark.fault("BR-03")
    @pytest.mark.parametrize("seconds", [3600, DAY])
    def test_an_open_circuit_does_not_stay_open_for_want_of_a_clock(
        self, handle: Handle, seconds: float
    ) -> None:
        handle.fail(BREAKER, 5)

        handle.clock.start_again(seconds)

        assert handle.granted(BREAKER).is_probe

    def test_looking_at_a_circuit_changes_nothing(self, handle: Handle) -> None:
        handle.fail(BREAKER, 5)
        handle.pass_time(60)

        assert handle.store.peek(CIRCUIT) == handle.store.peek(CIRCUIT)
        assert handle.granted(BREAKER).is_probe


class TestLimits:
    def test_a_burst_passes_and_then_calls_queue_in_order_of_arrival(self, handle: Handle) -> None:
        waits = [handle.granted(LIMITS, wait=60).wait_us for _ in range(3)]

        assert waits == [0, 0, 3_157_895]
        assert refused_for(handle.admit(LIMITS, wait=60)) == 6_315_790

    @pytest.mark.property(27)
    def test_of_fifty_threads_at_a_limit_exactly_as_many_pass_as_there_are_tokens(
        self, handle: Handle
    ) -> None:
        policy = AdmissionPolicy(None, LimitPolicy(200, 1000, max_wait_us=0, reserved_percent=0), None)
        barrier = threading.Barrier(50)
        admissions = []

        def ask() -> None:
            barrier.wait()
            admissions.append(handle.admit(policy))

        threads = [threading.Thread(target=ask) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sum(isinstance(admission, Granted) for admission in admissions) == 20

    def test_a_call_whose_turn_would_come_too_late_is_refused_and_takes_no_token(
        self, handle: Handle
    ) -> None:
        for _ in range(2):
            handle.granted(LIMITS)
        before = handle.store.peek(CIRCUIT).state

        refusals = [handle.admit(LIMITS, wait=3) for _ in range(3)]

        assert [refused_for(refusal) for refusal in refusals] == [3_157_895] * 3
        assert handle.store.peek(CIRCUIT).state == before

    def test_a_call_takes_a_token_of_both_limits_or_of_neither(self, handle: Handle) -> None:
        policy = AdmissionPolicy(None, LimitPolicy(per_minute=100, per_hour=1, reserved_percent=0))
        handle.granted(policy)
        before = handle.store.peek(CIRCUIT).state

        assert refused_for(handle.admit(policy, wait=60)) == 3_600_000_000
        assert handle.store.peek(CIRCUIT).state == before

    @pytest.mark.property(21)
    def test_an_open_circuit_spends_no_tokens(self, handle: Handle) -> None:
        policy = AdmissionPolicy(BreakerPolicy(failure_threshold=1), LimitPolicy())
        handle.fail(policy, 1)
        before = handle.store.peek(CIRCUIT).state

        assert isinstance(handle.admit(policy, wait=60), RefusedByCircuit)
        assert handle.store.peek(CIRCUIT).state == before

    @pytest.mark.fault("LI-06")
    def test_a_provider_that_asks_for_a_pause_gets_it_from_everybody(self, handle: Handle) -> None:
        handle.settle(LIMITS, handle.granted(LIMITS), Settlement.NOTHING, pause=30)

        assert refused_for(handle.admit(LIMITS, wait=5)) == 30_000_000
        handle.pass_time(30)
        assert isinstance(handle.admit(LIMITS), Granted)

    def test_a_pause_is_never_shortened_and_never_longer_than_an_hour(self, handle: Handle) -> None:
        granted = handle.granted(LIMITS)
        handle.settle(LIMITS, granted, Settlement.NOTHING, pause=10**9)
        handle.settle(LIMITS, granted, Settlement.NOTHING, pause=1)

        assert refused_for(handle.admit(LIMITS, wait=5)) == 3_600_000_000

    @pytest.mark.fault("LI-01")
    @pytest.mark.parametrize("seconds", [900, 3600, DAY])
    def test_a_clock_set_back_locks_nobody_out(self, handle: Handle, seconds: float) -> None:
        while isinstance(handle.admit(LIMITS), Granted):
            pass
        handle.settle(LIMITS, Granted(0), Settlement.NOTHING, pause=10)

        handle.clock.start_again(seconds)

        assert isinstance(handle.admit(LIMITS), Granted)
        handle.pass_time(min(70, seconds + 10))
        assert isinstance(handle.admit(LIMITS), Granted)

    def test_without_guards_everything_passes_and_nothing_is_kept(self, handle: Handle) -> None:
        handle.fail(FREE, 100)

        assert handle.store.peek(CIRCUIT).state == handle.store.peek("address.kakao").state

    def test_a_batch_call_never_takes_what_is_reserved_for_people(self, handle: Handle) -> None:
        policy = AdmissionPolicy(None, LimitPolicy(per_minute=100, per_hour=1000, max_wait_us=0))
        while isinstance(handle.admit(policy, call_class=CallClass.BATCH), Granted):
            pass

        granted = handle.granted(policy)

        assert granted.is_reserved
        assert isinstance(handle.admit(policy, call_class=CallClass.BATCH), RefusedByLimiter)

    def test_people_have_all_of_the_limit_while_there_is_no_batch_work(self, handle: Handle) -> None:
        policy = AdmissionPolicy(None, LimitPolicy(per_minute=100, per_hour=1000, max_wait_us=0))
        granted = []
        while isinstance(admission := handle.admit(policy), Granted):
            granted.append(admission.is_reserved)

        assert (granted.count(True), granted.count(False)) == (2, 8)

    @pytest.mark.property(15)
    def test_the_mode_exact_lets_all_of_the_limit_through_at_once_and_none_beyond(
        self, handle: Handle
    ) -> None:
        limits = LimitPolicy(per_minute=20, per_hour=50, mode=LimitMode.EXACT, max_wait_us=0)
        policy = AdmissionPolicy(None, limits)

        in_windows = []
        for _ in range(4):
            went = 0
            while isinstance(handle.admit(policy), Granted):
                went += 1
            in_windows.append(went)
            handle.pass_time(60)

        assert in_windows == [20, 20, 10, 0]

    def test_the_mode_exact_reserves_a_turn_when_the_oldest_call_is_a_window_old(
        self, handle: Handle
    ) -> None:
        policy = AdmissionPolicy(
            None,
            LimitPolicy(2, 100, mode=LimitMode.EXACT, max_wait_us=60 * SECOND, reserved_percent=0),
        )
        handle.granted(policy)
        handle.pass_time(10)
        handle.granted(policy)
        handle.pass_time(5)

        assert [handle.granted(policy, wait=60).wait_us for _ in range(2)] == [45 * SECOND, 55 * SECOND]
        assert refused_for(handle.admit(policy, wait=60)) == 105 * SECOND

    @pytest.mark.fault("LI-01")
    def test_the_mode_exact_forgets_what_a_clock_that_was_set_back_makes_unbelievable(
        self, handle: Handle
    ) -> None:
        policy = AdmissionPolicy(None, LimitPolicy(3, 100, mode=LimitMode.EXACT, max_wait_us=0))
        while isinstance(handle.admit(policy), Granted):
            pass

        handle.clock.start_again(3600)

        assert isinstance(handle.admit(policy), Granted)


class TestProbes:
    def test_as_many_probes_pass_as_are_configured(self, handle: Handle) -> None:
        policy = AdmissionPolicy(BreakerPolicy(failure_threshold=1, probes=3), None, None)
        handle.fail(policy, 1)
        handle.pass_time(60)

        admissions = [handle.admit(policy) for _ in range(5)]

        assert [isinstance(each, Granted) and each.is_probe for each in admissions] == [True] * 3 + [
            False
        ] * 2
        assert admissions[3] == RefusedByCircuit(31 * SECOND)

    def test_each_probe_that_proves_nothing_makes_room_for_one_more(self, handle: Handle) -> None:
        policy = AdmissionPolicy(BreakerPolicy(failure_threshold=1, probes=2), None, None)
        handle.fail(policy, 1)
        handle.pass_time(60)
        first, _ = handle.granted(policy), handle.granted(policy)
        handle.settle(policy, first, Settlement.NOTHING)

        assert handle.granted(policy).is_probe
        assert isinstance(handle.admit(policy), RefusedByCircuit)

    def test_where_health_checks_probe_no_users_call_does(self, handle: Handle) -> None:
        policy = AdmissionPolicy(BreakerPolicy(failure_threshold=1, probes_by_check=True), None, None)
        handle.fail(policy, 1)
        handle.pass_time(60)

        assert handle.admit(policy) == RefusedByCircuit(SECOND, wants_check=True)
        probe = handle.granted(policy, is_check=True)
        assert probe.is_probe
        assert handle.admit(policy) == RefusedByCircuit(31 * SECOND)

        assert handle.settle(policy, probe, Settlement.WELL).closed

    def test_an_attempt_owes_nothing_only_while_all_is_well(self, handle: Handle) -> None:
        assert not handle.granted(AdmissionPolicy()).owes
        handle.fail(BREAKER, 1)

        granted = handle.granted(BREAKER)

        assert (granted.owes, granted.failures) == (True, 1)


class TestShares:
    POLICY = AdmissionPolicy(
        BreakerPolicy(failure_threshold=1000, failure_percent=50, minimum_calls=10, window_us=10 * SECOND),
        None,
        None,
    )

    def test_a_circuit_opens_when_half_of_the_attempts_of_a_window_failed(self, handle: Handle) -> None:
        handle.end(self.POLICY, Settlement.WELL, 5)
        handle.fail(self.POLICY, 4)
        granted = handle.granted(self.POLICY)
        assert granted.owes

        assert handle.settle(self.POLICY, granted, Settlement.ILL).opened

    def test_what_is_older_than_the_window_is_not_counted(self, handle: Handle) -> None:
        handle.fail(self.POLICY, 9)
        handle.pass_time(10)

        handle.fail(self.POLICY, 9)

        assert isinstance(handle.admit(self.POLICY), Granted)

    def test_slow_attempts_open_a_circuit_although_they_went_well(self, handle: Handle) -> None:
        policy = AdmissionPolicy(BreakerPolicy(slow_percent=100, minimum_calls=3), None, None)
        settled = [
            handle.settle(policy, handle.granted(policy), Settlement.WELL, is_slow=True) for _ in range(3)
        ]

        assert [each.opened for each in settled] == [False, False, True]


class TestRetryBudget:
    POLICY = AdmissionPolicy(None, None, RetryBudget(tokens=4, percent=50))

    def test_retries_are_allowed_while_more_than_half_of_the_budget_is_there(self, handle: Handle) -> None:
        allowed = [
            handle.settle(self.POLICY, handle.granted(self.POLICY), Settlement.ILL).may_retry
            for _ in range(3)
        ]

        assert allowed == [True, False, False]

    def test_attempts_that_go_well_pay_the_debt_back(self, handle: Handle) -> None:
        handle.fail(self.POLICY, 9)
        handle.end(self.POLICY, Settlement.WELL, 4)
        assert handle.granted(self.POLICY).owes

        settled = handle.settle(self.POLICY, handle.granted(self.POLICY), Settlement.WELL)

        assert (settled.may_retry, settled.state.retry_debt) == (True, 1500)

    def test_being_asked_to_slow_down_costs_budget_and_opens_no_circuit(self, handle: Handle) -> None:
        policy = AdmissionPolicy(BreakerPolicy(failure_threshold=1), None, RetryBudget(tokens=2))

        settled = handle.settle(policy, handle.granted(policy), Settlement.THROTTLED)

        assert (settled.opened, settled.may_retry) == (False, False)


class TestOperators:
    def test_a_circuit_that_is_forced_open_refuses_and_says_who_forced_it(self, handle: Handle) -> None:
        handle.store.steer(CIRCUIT, OverrideMode.FORCED_OPEN, seconds=90, by="kim", reason="점검: 10–11 %\n")
        handle.pass_time(30)

        assert handle.admit(BREAKER) == RefusedByCircuit(60 * SECOND, forced_by="kim: 점검: 10–11 %\n")

    def test_a_circuit_that_is_forced_closed_lets_pass_and_counts_nothing(self, handle: Handle) -> None:
        handle.fail(BREAKER, 5)
        handle.store.steer(CIRCUIT, OverrideMode.FORCED_CLOSED, seconds=90, by="kim", reason="they are back")

        settled = handle.settle(BREAKER, handle.granted(BREAKER), Settlement.ILL)

        assert (settled.opened, settled.state.breaker.failures) == (False, 5)

    def test_a_shadowed_circuit_counts_and_refuses_nobody(self, handle: Handle) -> None:
        handle.store.steer(CIRCUIT, OverrideMode.SHADOW, seconds=90, by="kim", reason="trying it out")
        handle.fail(BREAKER, 5)

        snapshot = handle.store.peek(CIRCUIT)

        assert snapshot.state.breaker.opened_at == snapshot.now
        assert isinstance(handle.admit(BREAKER), Granted)

    @pytest.mark.parametrize("mode", list(OverrideMode))
    def test_an_operators_word_ends_by_itself(self, handle: Handle, mode: OverrideMode) -> None:
        handle.fail(BREAKER, 5)
        handle.store.steer(CIRCUIT, mode, seconds=30, by="kim", reason="for now")
        handle.pass_time(30)

        assert handle.admit(BREAKER) == RefusedByCircuit(30 * SECOND)

    def test_an_operators_word_can_be_taken_back(self, handle: Handle) -> None:
        given = handle.store.steer(CIRCUIT, OverrideMode.FORCED_OPEN, seconds=90, by="kim", reason="r")
        assert given.state.override is not None
        assert (given.state.override.by, given.state.override.until) == ("kim", given.now + 90 * SECOND)

        taken_back = handle.store.steer(CIRCUIT, None)

        assert taken_back.state == handle.store.peek(CIRCUIT).state == ProviderState()
        assert isinstance(handle.admit(BREAKER), Granted)

    @pytest.mark.fault("BR-03")
    def test_an_operators_word_does_not_outlive_its_time_because_the_clock_was_set_back(
        self, handle: Handle
    ) -> None:
        handle.store.steer(CIRCUIT, OverrideMode.FORCED_OPEN, seconds=90, by="kim", reason="r")

        handle.clock.start_again(DAY)

        assert isinstance(handle.admit(BREAKER), Granted)

    def test_no_operator_makes_a_call_go_beyond_its_limits(self, handle: Handle) -> None:
        policy = AdmissionPolicy(BreakerPolicy(), LIMITS.limits)
        handle.store.steer(CIRCUIT, OverrideMode.FORCED_CLOSED, seconds=90, by="kim", reason="r")

        admissions = [handle.admit(policy) for _ in range(3)]

        assert [isinstance(each, Granted) for each in admissions] == [True, True, False]


class TestEventLoops:
    """A few of the above, as an event loop asks: the rule is the same, so its way to the store is what is shown."""

    @pytest.mark.property(20)
    @pytest.mark.property(22)
    def test_five_failures_open_a_circuit_and_one_probe_closes_it(self, looped: Handle) -> None:
        looped.fail(BREAKER, 5)
        assert looped.admit(BREAKER) == RefusedByCircuit(60 * SECOND)
        looped.pass_time(60)

        probe = looped.granted(BREAKER)

        assert isinstance(looped.admit(BREAKER), RefusedByCircuit)
        assert looped.settle(BREAKER, probe, Settlement.WELL).closed

    def test_limits_are_those_that_threads_have(self, looped: Handle) -> None:
        looped.granted(LIMITS)
        in_threads = Handle(looped.name, looped.store, looped.clock, looped.pass_time)
        in_threads.granted(LIMITS)

        assert refused_for(looped.admit(LIMITS)) == refused_for(in_threads.admit(LIMITS)) == 3_157_895
