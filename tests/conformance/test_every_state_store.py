"""What every state store does. It is said once, and each of them has to do it."""

from __future__ import annotations

import threading

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from core.policies.admission import AdmissionPolicy, Granted, RefusedByCircuit, RefusedByLimiter, Settlement
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.rate_limit import LimitPolicy
from tests.conformance.stores import Handle

CIRCUIT = "address.juso"
BREAKER = AdmissionPolicy(limits=None)
LIMITS = AdmissionPolicy(breaker=None, limits=LimitPolicy(per_minute=20, per_hour=1000))
FREE = AdmissionPolicy(breaker=None, limits=None)
DAY = 86_400.0

# Each example works under names of its own, and a store on a real server may take its time.
each_example_on_one_store = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


class TestCircuits:
    def test_a_circuit_never_heard_of_is_closed(self, handle: Handle) -> None:
        assert handle.admit(AdmissionPolicy()) == Granted(generation=0)

    @pytest.mark.property(20)
    def test_exactly_five_failures_in_a_row_open_it(self, handle: Handle) -> None:
        for _ in range(4):
            granted = handle.granted(BREAKER)
            assert not handle.store.settle(CIRCUIT, BREAKER, granted, Settlement.ILL).opened

        granted = handle.granted(BREAKER)

        assert handle.store.settle(CIRCUIT, BREAKER, granted, Settlement.ILL).opened
        assert handle.admit(BREAKER) == RefusedByCircuit(60_000_000)

    def test_a_success_begins_the_count_again(self, handle: Handle) -> None:
        handle.fail(BREAKER, 4)
        handle.store.settle(CIRCUIT, BREAKER, handle.granted(BREAKER), Settlement.WELL)
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

        settled = handle.store.settle(CIRCUIT, BREAKER, handle.granted(BREAKER), Settlement.WELL)

        assert (settled.opened, settled.closed) == (False, True)
        assert not handle.granted(BREAKER).is_probe

    def test_a_probe_that_fails_opens_the_circuit_again(self, handle: Handle) -> None:
        handle.fail(BREAKER, 5)
        handle.pass_time(60)

        settled = handle.store.settle(CIRCUIT, BREAKER, handle.granted(BREAKER), Settlement.ILL)

        assert (settled.opened, settled.closed) == (True, False)
        assert handle.admit(BREAKER) == RefusedByCircuit(60_000_000)

    def test_a_probe_that_proves_nothing_makes_room_for_the_next(self, handle: Handle) -> None:
        handle.fail(BREAKER, 5)
        handle.pass_time(60)
        handle.store.settle(CIRCUIT, BREAKER, handle.granted(BREAKER), Settlement.NOTHING)

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
            BreakerPolicy(failure_threshold=1, recovery_us=1_000_000, probe_lease_us=100_000),
            LimitPolicy(per_minute=6, per_hour=1000, max_wait_us=30_000_000),
        )
        handle.fail(policy, 1)
        handle.pass_time(1)

        assert handle.granted(policy, wait=30) == Granted(generation=2, is_probe=True, wait_us=9_000_000)
        assert handle.admit(policy, wait=30) == RefusedByCircuit(9_100_000)

    @pytest.mark.fault("BR-04")
    @pytest.mark.parametrize("settlement", list(Settlement))
    def test_the_late_result_of_an_attempt_begun_before_changes_nothing(
        self, handle: Handle, settlement: Settlement
    ) -> None:
        late = handle.granted(BREAKER)
        handle.fail(BREAKER, 5)
        before = handle.store.peek(CIRCUIT).state

        settled = handle.store.settle(CIRCUIT, BREAKER, late, settlement)

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

        handle.store.settle(CIRCUIT, BREAKER, given_up, settlement)

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
        assert handle.admit(LIMITS, wait=60) == RefusedByLimiter(6_315_790)

    def test_a_call_whose_turn_would_come_too_late_is_refused_and_takes_no_token(
        self, handle: Handle
    ) -> None:
        for _ in range(2):
            handle.granted(LIMITS)
        before = handle.store.peek(CIRCUIT).state

        refusals = [handle.admit(LIMITS, wait=3) for _ in range(3)]

        assert refusals == [RefusedByLimiter(3_157_895)] * 3
        assert handle.store.peek(CIRCUIT).state == before

    def test_a_call_takes_a_token_of_both_limits_or_of_neither(self, handle: Handle) -> None:
        policy = AdmissionPolicy(breaker=None, limits=LimitPolicy(per_minute=100, per_hour=1))
        handle.granted(policy)
        before = handle.store.peek(CIRCUIT).state

        assert handle.admit(policy, wait=60) == RefusedByLimiter(3_600_000_000)
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
        handle.store.settle(CIRCUIT, LIMITS, handle.granted(LIMITS), Settlement.NOTHING, pause_us=30_000_000)

        assert handle.admit(LIMITS, wait=5) == RefusedByLimiter(30_000_000)
        handle.pass_time(30)
        assert isinstance(handle.admit(LIMITS), Granted)

    def test_a_pause_is_never_shortened_and_never_longer_than_an_hour(self, handle: Handle) -> None:
        granted = handle.granted(LIMITS)
        handle.store.settle(CIRCUIT, LIMITS, granted, Settlement.NOTHING, pause_us=10**15)
        handle.store.settle(CIRCUIT, LIMITS, granted, Settlement.NOTHING, pause_us=1_000_000)

        assert handle.admit(LIMITS, wait=5) == RefusedByLimiter(3_600_000_000)

    @pytest.mark.fault("LI-01")
    @pytest.mark.parametrize("seconds", [60, 3600, DAY])
    def test_a_clock_set_back_locks_nobody_out(self, handle: Handle, seconds: float) -> None:
        while isinstance(handle.admit(LIMITS), Granted):
            pass
        handle.store.settle(CIRCUIT, LIMITS, Granted(0), Settlement.NOTHING, pause_us=10_000_000)

        handle.clock.start_again(seconds)

        assert isinstance(handle.admit(LIMITS), Granted)
        handle.pass_time(min(70, seconds + 10))
        assert isinstance(handle.admit(LIMITS), Granted)

    def test_without_guards_everything_passes_and_nothing_is_kept(self, handle: Handle) -> None:
        for _ in range(100):
            granted = handle.granted(FREE)
            handle.store.settle(CIRCUIT, FREE, granted, Settlement.ILL)

        assert handle.store.peek(CIRCUIT).state == handle.store.peek("address.kakao").state


class TestKeptValues:
    @pytest.mark.parametrize("value", [b"", b"\x00\xff", "한글".encode(), b"x" * 300_000])
    def test_what_is_written_is_read_byte_for_byte(self, handle: Handle, value: bytes) -> None:
        handle.store.write("address:search:1", value, 60)

        assert handle.store.read("address:search:1") == value

    def test_there_is_nothing_under_a_key_never_written(self, handle: Handle) -> None:
        assert handle.store.read("address:search:1") is None
        assert not handle.store.delete("address:search:1")

    def test_the_last_value_written_is_the_one_kept(self, handle: Handle) -> None:
        handle.store.write("k", b"old", 1)
        handle.store.write("k", b"new", 60)
        handle.pass_time(30)

        assert handle.store.read("k") == b"new"

    def test_a_value_is_kept_for_its_time_and_not_longer(self, handle: Handle) -> None:
        handle.store.write("k", b"v", 60)
        handle.pass_time(59)
        assert handle.store.read("k") == b"v"

        handle.pass_time(1)

        assert handle.store.read("k") is None
        assert not handle.store.delete("k")
        assert handle.store.delete_pattern("*") == 0

    def test_a_value_without_time_is_not_kept(self, handle: Handle) -> None:
        handle.store.write("k", b"old", 60)
        handle.store.write("k", b"new", 0)

        assert handle.store.read("k") is None

    def test_a_key_is_forgotten_once(self, handle: Handle) -> None:
        handle.store.write("k", b"v", 60)

        assert [handle.store.delete("k"), handle.store.delete("k")] == [True, False]
        assert handle.store.read("k") is None

    def test_forgetting_answers_leaves_circuits_alone(self, handle: Handle) -> None:
        handle.fail(BREAKER, 5)
        handle.store.write("k", b"v", 60)

        assert handle.store.delete_pattern("*") == 1
        assert isinstance(handle.admit(BREAKER), RefusedByCircuit)


HOSTILE = "ab:*?[]\\^-{}%_ \n\x00'\"가é"
texts = st.text(alphabet=HOSTILE, max_size=6)


@pytest.mark.property(32)
@pytest.mark.fault("CA-03")
@each_example_on_one_store
@given(keys=st.sets(texts, max_size=8), pattern=texts)
@example(keys={"a*b", "axb", "a?b", "a[x]b"}, pattern="a?b")
@example(keys={"a[x]", "ax", "a[y]"}, pattern="a[*]")
@example(keys={"a\\b", "ab", "a\\*"}, pattern="a\\*")
@example(keys={"a_b", "a%b", "axb", "A_b"}, pattern="a_*")
@example(keys={"a\x00b", "a\x00", "a"}, pattern="a\x00*")
@example(keys={"a\nb", "ab"}, pattern="a*b")
def test_a_pattern_forgets_what_matches_and_nothing_else(
    handle: Handle, keys: set[str], pattern: str
) -> None:
    handle.store.delete_pattern("*")
    for key in keys:
        handle.store.write(key, key.encode(), 60)
    expected = {key for key in keys if matches(pattern, key)}

    assert handle.store.delete_pattern(pattern) == len(expected)
    assert {key for key in keys if handle.store.read(key) is not None} == keys - expected


def matches(pattern: str, text: str) -> bool:
    """What a pattern means, said as plainly as possible: `*` is any text, everything else is itself."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(matches(pattern[1:], text[start:]) for start in range(len(text) + 1))
    return text[:1] == pattern[0] and matches(pattern[1:], text[1:])
