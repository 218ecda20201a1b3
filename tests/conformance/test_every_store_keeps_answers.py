"""How every state store keeps answers, and lets one call at a time fetch one. Each of them has to do it."""

from __future__ import annotations

import threading

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from core.policies.admission import AdmissionPolicy, Granted, RefusedByCircuit, Settlement
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.rate_limit import LimitPolicy
from core.state.base import (
    Ended,
    FailedElsewhere,
    FetchedElsewhere,
    Opening,
    Release,
    Settle,
    Wanted,
)
from tests.conformance.stores import CIRCUIT, KEY, SECOND, Handle, refused_for, to_keep

BREAKER = AdmissionPolicy(BreakerPolicy(failure_threshold=1), limits=None, budget=None)
FREE = AdmissionPolicy(breaker=None, limits=None, budget=None)
WANTED = Wanted(KEY, "one", 5 * SECOND)
OTHERS = Wanted(KEY, "other", 5 * SECOND)

each_example_on_one_store = settings(
    # Each example clears up before itself, and a store on a real server may take its time.
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class TestKeptValues:
    @pytest.mark.parametrize("value", [b"", b"\x00\xff", "한글".encode(), b"x" * 300_000])
    def test_what_is_written_is_read_byte_for_byte(self, handle: Handle, value: bytes) -> None:
        handle.store.write(KEY, value, 60)

        assert handle.store.read(KEY) == value

    def test_there_is_nothing_under_a_key_never_written(self, handle: Handle) -> None:
        assert handle.store.read(KEY) is None
        assert not handle.store.delete(KEY)

    def test_the_last_value_written_is_the_one_kept(self, handle: Handle) -> None:
        handle.store.write(KEY, b"old", 10)
        handle.store.write(KEY, b"new", 60)
        handle.pass_time(30)

        assert handle.store.read(KEY) == b"new"

    @pytest.mark.property(30)
    def test_a_value_is_kept_for_its_time_and_not_longer(self, handle: Handle) -> None:
        handle.store.write(KEY, b"v", 90)
        handle.pass_time(60)
        assert handle.store.read(KEY) == b"v"

        handle.pass_time(30)

        assert handle.store.read(KEY) is None
        assert not handle.store.delete(KEY)
        assert handle.store.delete_pattern("*") == 0

    def test_a_value_without_time_is_not_kept(self, handle: Handle) -> None:
        handle.store.write(KEY, b"old", 60)
        handle.store.write(KEY, b"new", 0)

        assert handle.store.read(KEY) is None

    def test_a_key_is_forgotten_once(self, handle: Handle) -> None:
        handle.store.write(KEY, b"v", 60)

        assert [handle.store.delete(KEY), handle.store.delete(KEY)] == [True, False]
        assert handle.store.read(KEY) is None

    def test_forgetting_answers_leaves_circuits_alone(self, handle: Handle) -> None:
        handle.fail(BREAKER, 1)
        handle.store.write(KEY, b"v", 60)

        assert handle.store.delete_pattern("*") == 1
        assert isinstance(handle.admit(BREAKER), RefusedByCircuit)


class TestOpening:
    def test_a_fresh_answer_takes_no_token(self, handle: Handle) -> None:
        policy = AdmissionPolicy(None, LimitPolicy(per_minute=1, per_hour=1, max_wait_us=0))
        handle.store.write(KEY, b"v", 60, 60)

        openings = [handle.open(policy, WANTED) for _ in range(3)]

        assert openings == [Opening(b"v", None)] * 3
        assert isinstance(handle.admit(policy), Granted)

    @pytest.mark.property(21)
    def test_a_fresh_answer_is_served_while_the_circuit_is_open(self, handle: Handle) -> None:
        handle.fail(BREAKER, 1)
        handle.store.write(KEY, b"v", 60, 60)

        assert handle.open(BREAKER, WANTED) == Opening(b"v", None)

    @pytest.mark.property(21)
    def test_a_stale_answer_comes_with_the_refusal(self, handle: Handle) -> None:
        handle.fail(BREAKER, 1)
        handle.store.write(KEY, b"v", 60)

        assert handle.open(BREAKER, WANTED) == Opening(b"v", RefusedByCircuit(60 * SECOND))

    @pytest.mark.property(30)
    def test_an_answer_is_fresh_for_its_time_and_stale_thereafter(self, handle: Handle) -> None:
        handle.store.write(KEY, b"v", 120, 60)
        handle.pass_time(30)
        assert handle.open(FREE, WANTED) == Opening(b"v", None)

        handle.pass_time(30)

        kept, outcome = handle.open(FREE, WANTED)
        assert kept == b"v"
        assert isinstance(outcome, Granted)

    def test_an_answer_written_again_without_freshness_is_stale(self, handle: Handle) -> None:
        handle.store.write(KEY, b"fresh", 60, 60)
        handle.store.write(KEY, b"stale", 60)

        kept, outcome = handle.open(FREE, WANTED)

        assert (kept, isinstance(outcome, Granted)) == (b"stale", True)

    def test_an_answer_that_was_forgotten_is_not_fresh(self, handle: Handle) -> None:
        handle.store.write(KEY, b"v", 60, 60)
        handle.store.delete(KEY)
        assert isinstance(handle.open(FREE, WANTED).outcome, Granted)

        handle.store.write("address:search:2", b"v", 60, 60)
        handle.store.delete_pattern("address:*")
        assert isinstance(handle.open(FREE, Wanted("address:search:2", "o", SECOND)).outcome, Granted)

    def test_who_refreshes_goes_although_the_answer_is_fresh(self, handle: Handle) -> None:
        handle.store.write(KEY, b"v", 60, 60)

        kept, outcome = handle.open(FREE, WANTED._replace(refreshes=True))

        assert (kept, isinstance(outcome, Granted)) == (b"v", True)


class TestLeases:
    def test_while_one_call_fetches_an_answer_another_is_told_for_how_long(self, handle: Handle) -> None:
        assert isinstance(handle.open(FREE, WANTED).outcome, Granted)
        handle.pass_time(2)

        assert handle.open(FREE, OTHERS) == Opening(None, FetchedElsewhere(3 * SECOND))

    def test_who_is_told_so_takes_no_token(self, handle: Handle) -> None:
        policy = AdmissionPolicy(None, LimitPolicy(per_minute=20, per_hour=1000, reserved_percent=0))
        handle.open(policy, WANTED)
        before = handle.store.peek(CIRCUIT).state

        handle.open(policy, OTHERS)

        assert handle.store.peek(CIRCUIT).state == before

    def test_who_refreshes_does_not_go_twice(self, handle: Handle) -> None:
        handle.store.write(KEY, b"v", 60, 60)
        handle.open(FREE, WANTED._replace(refreshes=True))

        assert handle.open(FREE, OTHERS._replace(refreshes=True)) == Opening(
            b"v", FetchedElsewhere(5 * SECOND)
        )

    def test_the_call_that_fetches_may_try_again(self, handle: Handle) -> None:
        handle.open(FREE, WANTED)
        handle.pass_time(3)

        assert isinstance(handle.open(FREE, WANTED).outcome, Granted)
        handle.pass_time(3)
        assert handle.open(FREE, OTHERS).outcome == FetchedElsewhere(2 * SECOND)

    def test_other_answers_are_fetched_meanwhile(self, handle: Handle) -> None:
        handle.open(FREE, WANTED)

        assert isinstance(handle.open(FREE, Wanted("address:search:2", "o", SECOND)).outcome, Granted)
        assert isinstance(handle.open(FREE).outcome, Granted)

    def test_a_refusal_leaves_no_lease(self, handle: Handle) -> None:
        handle.fail(BREAKER, 1)
        handle.open(BREAKER, WANTED)

        assert isinstance(handle.open(BREAKER, OTHERS).outcome, RefusedByCircuit)

    def test_a_call_whose_turn_comes_later_has_its_whole_time_from_then_on(self, handle: Handle) -> None:
        policy = AdmissionPolicy(None, LimitPolicy(6, 1000, max_wait_us=30 * SECOND, reserved_percent=0))
        handle.granted(policy)

        _, granted = handle.open(policy, WANTED, wait=30)

        assert isinstance(granted, Granted)
        assert granted.wait_us == 10 * SECOND
        assert handle.open(policy, OTHERS, wait=30).outcome == FetchedElsewhere(15 * SECOND)

    @pytest.mark.fault("CA-04")
    def test_the_lease_of_a_call_that_died_ends_by_itself(self, handle: Handle) -> None:
        handle.open(FREE, WANTED)
        handle.pass_time(5)

        assert isinstance(handle.open(FREE, OTHERS).outcome, Granted)
        assert handle.open(FREE, WANTED).outcome == FetchedElsewhere(5 * SECOND)

    def test_a_lease_does_not_outlive_its_time_because_the_machine_was_started_again(
        self, handle: Handle
    ) -> None:
        handle.open(FREE, WANTED)

        handle.clock.start_again(3600)

        assert isinstance(handle.open(FREE, OTHERS).outcome, Granted)

    @pytest.mark.fault("CA-04")
    def test_of_fifty_threads_that_want_an_answer_one_fetches_it(self, handle: Handle) -> None:
        barrier = threading.Barrier(50)
        outcomes = []

        def ask(number: int) -> None:
            barrier.wait()
            outcomes.append(handle.open(FREE, Wanted(KEY, f"call {number}", 5 * SECOND)).outcome)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sum(isinstance(outcome, Granted) for outcome in outcomes) == 1
        assert outcomes.count(FetchedElsewhere(5 * SECOND)) == 49

    def test_an_event_loop_keeps_to_the_leases_of_threads(self, looped: Handle) -> None:
        in_threads = Handle(looped.name, looped.store, looped.clock, looped.pass_time)

        assert isinstance(looped.open(FREE, WANTED).outcome, Granted)
        assert in_threads.open(FREE, OTHERS) == Opening(None, FetchedElsewhere(5 * SECOND))
        looped.later(to_keep(KEY, "one", b"v", 60, 60))
        assert looped.open(FREE, OTHERS) == in_threads.open(FREE, OTHERS) == Opening(b"v", None)


class TestWhatIsToldLater:
    def test_an_answer_that_was_fetched_is_there_for_those_who_waited(self, handle: Handle) -> None:
        handle.open(FREE, WANTED)

        handle.later(to_keep(KEY, "one", b"v", 60, 120))

        assert handle.open(FREE, OTHERS._replace(has_waited=True)) == Opening(b"v", None)
        assert handle.store.read(KEY) == b"v"

    def test_with_the_answer_the_lease_ends(self, handle: Handle) -> None:
        handle.open(FREE, WANTED)

        handle.later(to_keep(KEY, "one", b"stale already", 0, 60))

        kept, outcome = handle.open(FREE, OTHERS)
        assert (kept, isinstance(outcome, Granted)) == (b"stale already", True)

    def test_an_answer_that_comes_late_is_kept_and_ends_no_one_elses_lease(self, handle: Handle) -> None:
        handle.open(FREE, WANTED)
        handle.pass_time(5)
        handle.open(FREE, OTHERS)

        handle.later(to_keep(KEY, "one", b"late", 0, 60))

        third = Wanted(KEY, "third", SECOND)
        assert handle.open(FREE, third) == Opening(b"late", FetchedElsewhere(5 * SECOND))

    def test_a_lease_that_is_released_lets_the_next_call_fetch(self, handle: Handle) -> None:
        handle.open(FREE, WANTED)

        handle.later(Release(KEY, "one"))

        assert isinstance(handle.open(FREE, OTHERS._replace(has_waited=True)).outcome, Granted)

    def test_a_failure_is_shared_with_those_who_waited_for_it_and_with_no_one_else(
        self, handle: Handle
    ) -> None:
        handle.open(FREE, WANTED)
        handle.store.write(KEY, b"old", 60)

        handle.later(Release(KEY, "one", b"timed out", 2 * SECOND))

        assert handle.open(FREE, OTHERS._replace(has_waited=True)) == Opening(
            b"old", FailedElsewhere(b"timed out")
        )
        assert isinstance(handle.open(FREE, OTHERS).outcome, Granted)

    def test_a_failure_is_shared_for_its_time_alone(self, handle: Handle) -> None:
        handle.open(FREE, WANTED)
        handle.later(Release(KEY, "one", b"timed out", 2 * SECOND))

        handle.pass_time(2)

        assert isinstance(handle.open(FREE, OTHERS._replace(has_waited=True)).outcome, Granted)

    @pytest.mark.parametrize("failure", [b"", b"\x00\xff 1 2", "한글 held 1 2 three".encode()])
    def test_what_a_failure_leaves_behind_comes_back_byte_for_byte(
        self, handle: Handle, failure: bytes
    ) -> None:
        handle.open(FREE, WANTED)
        handle.later(Release(KEY, "one", failure, SECOND))

        waiting = OTHERS._replace(has_waited=True)
        assert handle.open(FREE, waiting).outcome == FailedElsewhere(failure)

    def test_a_call_whose_lease_is_over_may_still_leave_its_failure(self, handle: Handle) -> None:
        handle.open(FREE, WANTED)
        handle.pass_time(6)

        handle.later(Release(KEY, "one", b"timed out", 2 * SECOND))

        assert handle.open(FREE, OTHERS._replace(has_waited=True)).outcome == FailedElsewhere(b"timed out")

    def test_who_has_no_lease_ends_none(self, handle: Handle) -> None:
        handle.open(FREE, WANTED)

        handle.later(Release(KEY, "a stranger"), Release(KEY, "a stranger", b"failure", SECOND))

        assert handle.open(FREE, OTHERS).outcome == FetchedElsewhere(5 * SECOND)

    def test_a_success_that_was_told_later_counts(self, handle: Handle) -> None:
        policy = AdmissionPolicy(BreakerPolicy(failure_threshold=2), None, None)
        handle.fail(policy, 1)
        granted = handle.granted(policy)

        handle.later(Settle(CIRCUIT, policy, Ended(granted, Settlement.WELL)))

        assert not handle.settle(policy, handle.granted(policy), Settlement.ILL).opened

    def test_what_is_told_later_is_done_in_its_order(self, handle: Handle) -> None:
        handle.later(
            *(to_keep(KEY, "one", b"%d" % number, 60, 60) for number in range(300)),
        )

        assert handle.store.read(KEY) == b"299"

    @pytest.mark.fault("LI-06")
    def test_a_pause_that_was_told_later_holds_everybody_back(self, handle: Handle) -> None:
        policy = AdmissionPolicy(None, LimitPolicy(max_wait_us=0))
        ended = Ended(handle.granted(policy), Settlement.THROTTLED, 30 * SECOND)

        handle.later(Settle(CIRCUIT, policy, ended))

        assert refused_for(handle.admit(policy)) == 30 * SECOND


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
