"""The flow of a call: what follows from what has happened. No client, no store, no clock."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.answer import Source
from core.model.calling import Jitter, Safety
from core.model.decision import Why
from core.model.verdict import Verdict
from core.policies.admission import AdmissionPolicy, Granted, RefusedByCircuit, RefusedByLimiter, Settlement
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.pipeline import (
    Admit,
    Ending,
    Errand,
    FallBack,
    GiveUp,
    Join,
    Joined,
    Kept,
    OutOfTime,
    Plan,
    Reject,
    Send,
    Serve,
    Settle,
    Share,
    Sleep,
    Spawn,
    TooManyInFlight,
    settlement_of,
)
from core.policies.policy import CallPolicy
from core.policies.retry import RetryPolicy
from tests.flows import GRANTED, ILL, OK, POLICY, START, Driver, Fetched, Sent, Turn

FRESH, STALE = Kept(10.0, is_stale=False), Kept(4000.0, is_stale=True)
SHORT = replace(POLICY, deadline_s=5)
PLAN = Plan(POLICY, routes=1)
KEPT = Plan(POLICY, routes=1, is_kept=True)


def test_an_attempt_is_admitted_then_sent_with_its_time_out() -> None:
    driver = Driver()

    assert driver.run(PLAN) == Serve(Source.LIVE, Why.ANSWERED)
    assert driver.kinds == ["Enter", "Admit", "Send"]
    assert driver.of(Admit)[0].patience_s == 60
    assert (driver.of(Send)[0].number, driver.of(Send)[0].timeout_s) == (1, 5)


def test_a_fresh_answer_is_served_and_nothing_is_sent() -> None:
    driver = Driver([None], kept=FRESH)

    assert driver.run(KEPT) == Serve(Source.CACHE, Why.KEPT_ANSWER)
    assert driver.kinds == ["Enter", "Join", "Admit"]


def test_an_answer_in_its_revalidation_time_is_served_while_a_fresh_one_is_fetched() -> None:
    driver = Driver([None], kept=STALE)

    assert driver.run(KEPT) == Serve(Source.STALE, Why.KEPT_WHILE_REFRESHED)
    assert [spawn.errand for spawn in driver.of(Spawn)] == [Errand.REFRESH]


def test_a_refresh_goes_although_the_store_lets_the_old_answer_be_served() -> None:
    driver = Driver([None, GRANTED], kept=STALE)

    assert driver.run(KEPT._replace(refreshes=True)) == Serve(Source.LIVE, Why.ANSWERED)
    assert [admit.refreshes for admit in driver.of(Admit)] == [False, True]
    assert driver.of(Join)[0].patience_s == 0


def test_a_refresh_that_comes_after_another_fetches_nothing() -> None:
    driver = Driver([None], kept=FRESH)

    assert driver.run(KEPT._replace(refreshes=True)) == Serve(Source.CACHE, Why.KEPT_ANSWER)
    assert driver.of(Send) == []


def test_a_refresh_that_waited_for_another_looks_again_before_it_fetches() -> None:
    driver = Driver([None, Fetched(5.0), None], kept=STALE)
    driver.turns.append(GRANTED)

    driver.run(KEPT._replace(refreshes=True))

    assert [admit.refreshes for admit in driver.of(Admit)] == [False, True, False, True]


def test_an_answer_that_the_store_has_lost_is_asked_for() -> None:
    driver = Driver([None, GRANTED])

    assert driver.run(KEPT) == Serve(Source.LIVE, Why.ANSWERED)
    assert [admit.refreshes for admit in driver.of(Admit)] == [False, True]


def test_a_granted_attempt_waits_for_its_turn_once() -> None:
    driver = Driver([Granted(0, wait_us=1_500_000)])

    driver.run(PLAN)

    assert driver.slept == [(1.5, True)]
    assert driver.kinds == ["Enter", "Admit", "Sleep", "Confirm", "Send"]


def test_a_turn_is_not_taken_when_the_circuit_has_opened_meanwhile() -> None:
    opened = RefusedByCircuit(60_000_000)
    driver = Driver([Granted(0, wait_us=1_500_000)], confirmations=[(opened, 0.0)])

    assert driver.run(PLAN) == Reject(opened)
    assert driver.of(Send) == []


def test_a_pause_that_began_meanwhile_is_waited_for_too() -> None:
    driver = Driver([Granted(0, wait_us=1_500_000)], confirmations=[(None, 3.0), (None, 0.0)])

    assert driver.run(PLAN) == Serve(Source.LIVE, Why.ANSWERED)
    assert driver.waits == [1.5, 3.0]


def test_a_pause_that_is_longer_than_a_call_may_wait_refuses_it() -> None:
    driver = Driver([Granted(0, wait_us=1_500_000)], confirmations=[(None, 30.0)])

    assert driver.run(PLAN) == Reject(RefusedByLimiter(30_000_000))


def test_a_refusal_after_an_attempt_that_may_have_arrived_does_not_make_it_undone() -> None:
    driver = Driver(sends=[Sent(Verdict.TIMED_OUT), Sent(Verdict.REQUEST_REFUSED, may_have_arrived=False)])

    ending = driver.run(PLAN._replace(safety=Safety.IDEMPOTENT))

    assert isinstance(ending, GiveUp)
    assert (ending.why, ending.attempt.verdict) == (Why.OUTCOME_UNKNOWN, Verdict.TIMED_OUT)


def test_the_last_attempt_gets_only_what_the_deadline_leaves() -> None:
    driver = Driver([Granted(0, wait_us=3_000_000)])

    driver.run(Plan(SHORT, 1))

    assert driver.of(Send)[0].timeout_s == 2


@pytest.mark.parametrize("verdict", [Verdict.NOT_FOUND, Verdict.REQUEST_REFUSED])
def test_a_final_answer_is_neither_retried_nor_taken_elsewhere(verdict: Verdict) -> None:
    driver = Driver(sends=[Sent(verdict)], kept=STALE)

    ending = driver.run(KEPT._replace(routes=2))

    assert isinstance(ending, GiveUp)
    assert (ending.attempt.verdict, ending.why) == (verdict, Why.FINAL_VERDICT)
    assert len(driver.of(Send)) == 1


def test_after_a_failure_the_wait_is_drawn_from_the_back_off_and_the_store_is_asked_again() -> None:
    driver = Driver(sends=[ILL, ILL, OK])

    driver.run(PLAN)

    assert driver.waits == [0.25, 0.5]
    assert [admit.patience_s for admit in driver.of(Admit)] == [60, 59.75, 59.25]
    assert [send.number for send in driver.of(Send)] == [1, 2, 3]


def test_decorrelated_waits_grow_from_the_one_before() -> None:
    policy = replace(POLICY, retry=RetryPolicy(jitter=Jitter.DECORRELATED))
    driver = Driver(sends=[ILL])

    driver.run(Plan(policy, 1))

    assert driver.waits == [1.0, 1.75, 2.875]


def test_a_retry_after_is_honoured_over_the_drawn_wait() -> None:
    driver = Driver(sends=[Sent(Verdict.THROTTLED, retry_after=7.0), OK])

    driver.run(PLAN)

    assert driver.waits == [7.0]


def test_a_wait_that_outlasts_the_deadline_is_not_begun() -> None:
    driver = Driver(sends=[Sent(Verdict.THROTTLED, retry_after=7.0), OK])

    ending = driver.run(Plan(SHORT, 1))

    assert isinstance(ending, GiveUp)
    assert ending.why is Why.DEADLINE
    assert driver.waits == []


@pytest.mark.parametrize(("retry_after", "is_tried"), [(2.5, True), (2.6, False)])
def test_a_retry_for_which_too_little_time_would_be_left_is_not_made(
    retry_after: float, is_tried: bool
) -> None:
    driver = Driver(sends=[Sent(Verdict.THROTTLED, retry_after=retry_after), OK])

    ending = driver.run(Plan(SHORT, 1))

    assert ending.why is (Why.ANSWERED if is_tried else Why.DEADLINE)
    assert len(driver.of(Send)) == (2 if is_tried else 1)


def test_a_retry_that_the_budget_does_not_allow_is_not_made() -> None:
    driver = Driver(sends=[ILL], may_retry=False)

    ending = driver.run(PLAN)

    assert isinstance(ending, GiveUp)
    assert ending.why is Why.BUDGET_USED_UP
    assert len(driver.of(Send)) == 1


def test_nothing_is_waited_for_when_the_failure_has_opened_the_circuit() -> None:
    driver = Driver(sends=[ILL], opens_at=2)

    ending = driver.run(PLAN)

    assert ending.why is Why.CIRCUIT_OPENED
    assert len(driver.of(Send)) == 2
    assert len(driver.waits) == 1


def test_when_the_tries_are_used_up_the_next_provider_has_all_of_its_own() -> None:
    driver = Driver(sends=[ILL])

    ending = driver.run(Plan(POLICY, routes=2))

    assert isinstance(ending, GiveUp)
    assert ending.why is Why.TRIES_USED_UP
    assert [send.route for send in driver.of(Send)] == [0, 0, 0, 0, 1, 1, 1, 1]


def test_a_refused_key_is_not_retried() -> None:
    driver = Driver(sends=[Sent(Verdict.CREDENTIALS_REFUSED)])

    assert isinstance(driver.run(PLAN), GiveUp)
    assert len(driver.of(Send)) == 1


def test_a_doubtful_refusal_of_the_key_is_tried_twice_more() -> None:
    driver = Driver(sends=[Sent(Verdict.CREDENTIALS_REFUSED, is_doubtful=True)])

    driver.run(PLAN)

    assert len(driver.of(Send)) == 3


def test_an_old_answer_stands_in_for_an_open_circuit() -> None:
    refusal = RefusedByCircuit(30_000_000)

    assert Driver([refusal], kept=STALE).run(KEPT) == FallBack(Source.STALE, refusal)


def test_what_the_integration_has_stands_in_when_no_answer_is_kept() -> None:
    refusal = RefusedByCircuit(30_000_000)
    plan = KEPT._replace(has_substitute=True)

    assert Driver([refusal], substitute=Source.MANUAL).run(plan) == FallBack(Source.MANUAL, refusal)
    assert Driver([refusal]).run(plan) == Reject(refusal)
    both = Driver([refusal], kept=STALE, substitute=Source.MANUAL)
    assert both.run(plan) == FallBack(Source.STALE, refusal)


def test_without_anything_to_stand_in_the_soonest_refusal_is_the_error() -> None:
    soon, late = RefusedByLimiter(2_000_000), RefusedByCircuit(30_000_000)

    assert Driver([late, soon]).run(Plan(POLICY, routes=2)) == Reject(soon)


def test_a_provider_that_hangs_leaves_the_next_one_its_time() -> None:
    """Of 15 seconds, the first of two providers has 10: the second can still take its whole time-out."""
    driver = Driver(sends=[Sent(Verdict.TIMED_OUT, takes_s=9)], chance=0.0)

    driver.run(Plan(replace(POLICY, deadline_s=15), routes=2))

    assert [(send.route, send.timeout_s) for send in driver.of(Send)] == [(0, 5), (0, 5), (1, 5)]


@pytest.mark.parametrize(
    ("waited", "settlement"), [(0, Settlement.ILL), (2.5, Settlement.ILL), (2.6, Settlement.NOTHING)]
)
def test_a_time_out_cut_short_by_ourselves_says_nothing_of_the_provider(
    waited: float, settlement: Settlement
) -> None:
    driver = Driver([Granted(0, wait_us=int(waited * 1e6))], sends=[Sent(Verdict.TIMED_OUT, takes_s=9)])

    driver.run(Plan(SHORT, 1))

    assert driver.of(Settle)[0].settlement is settlement


def test_a_turn_that_comes_after_the_deadline_is_not_taken() -> None:
    driver = Driver([Granted(0, wait_us=5_000_000)])

    assert driver.run(Plan(SHORT, 1)) == Reject(OutOfTime())
    assert driver.of(Send) == []


def test_too_many_calls_under_way_are_refused_or_answered_with_what_is_kept() -> None:
    refusal = TooManyInFlight(POLICY.max_in_flight)

    assert Driver(is_in=False).run(PLAN) == Reject(refusal)
    assert Driver(is_in=False).run(PLAN).why is Why.TOO_MANY_IN_FLIGHT
    assert Driver(is_in=False).run(KEPT) == Reject(refusal)
    assert Driver(is_in=False, kept=STALE).run(KEPT) == FallBack(Source.STALE, refusal)
    assert Driver(is_in=False, kept=FRESH).run(KEPT) == Serve(Source.CACHE, Why.KEPT_ANSWER)


def test_a_call_shares_the_end_of_the_one_that_fetches_the_same() -> None:
    assert Driver(joined=Joined.SHARES).run(KEPT) == Share()


def test_a_call_that_waits_too_long_for_another_gets_what_is_kept_or_the_deadline() -> None:
    late = Driver(joined=Joined.TOO_LATE)
    assert late.run(KEPT) == Reject(OutOfTime())
    assert late.run(KEPT).why is Why.DEADLINE
    assert Driver(joined=Joined.TOO_LATE, kept=STALE).run(KEPT) == FallBack(Source.STALE, OutOfTime())


def test_an_answer_that_another_process_fetches_is_looked_for_ever_less_often() -> None:
    driver = Driver([Fetched(5.0), Fetched(5.0), Fetched(5.0), None], kept=FRESH)

    assert driver.run(KEPT) == Serve(Source.CACHE, Why.KEPT_ANSWER)
    assert driver.waits == pytest.approx([0.01, 0.02, 0.04])
    assert [admit.has_waited for admit in driver.of(Admit)] == [False, True, True, True]


def test_the_looks_are_at_most_so_far_apart_and_no_later_than_the_lease() -> None:
    driver = Driver([*[Fetched(5.0)] * 8, Fetched(0.1), GRANTED])

    driver.run(KEPT)

    assert max(driver.waits) == pytest.approx(0.16)
    assert driver.waits[-1] == pytest.approx(0.1)


def test_a_failure_of_another_process_is_shared_by_those_who_waited_for_it() -> None:
    ending = Driver([Fetched(5.0), Fetched()]).run(KEPT)

    assert ending == Share(elsewhere=True)
    assert ending.why is Why.SHARED_ELSEWHERE


def test_a_half_open_circuit_that_wants_a_check_gets_one_behind_the_caller() -> None:
    driver = Driver([RefusedByCircuit(1_000_000, wants_check=True)])

    assert isinstance(driver.run(PLAN), Reject)
    assert [(spawn.errand, spawn.route) for spawn in driver.of(Spawn)] == [(Errand.CHECK, 0)]


def test_of_a_success_after_successes_the_store_hears_nothing() -> None:
    driver = Driver()
    driver.run(PLAN)
    assert driver.of(Settle) == []


def test_of_a_success_after_failures_the_store_hears_behind_the_caller() -> None:
    driver = Driver([Granted(0, owes=True, failures=2)])

    driver.run(PLAN)

    assert [(settle.settlement, settle.behind) for settle in driver.of(Settle)] == [(Settlement.WELL, True)]


@pytest.mark.parametrize("verdict", [Verdict.OK, Verdict.UNAVAILABLE])
def test_of_a_probe_and_of_a_failure_the_store_hears_at_once(verdict: Verdict) -> None:
    driver = Driver([Granted(1, is_probe=True, owes=True)], sends=[Sent(verdict)])

    driver.run(PLAN)

    assert not any(settle.behind for settle in driver.of(Settle))
    assert driver.of(Settle)


def test_a_good_answer_that_asks_everybody_to_hold_back_is_told_to_the_store() -> None:
    driver = Driver(sends=[Sent(Verdict.OK, pause_s=30.0)])

    driver.run(PLAN)

    assert [settle.pause_s for settle in driver.of(Settle)] == [30.0]


@pytest.mark.parametrize(("takes_s", "is_slow"), [(2.0, True), (1.99, False)])
def test_an_attempt_is_slow_from_the_time_that_the_policy_names(takes_s: float, is_slow: bool) -> None:
    breaker = BreakerPolicy(slow_percent=50, slow_us=2_000_000)
    policy = replace(POLICY, admission=AdmissionPolicy(breaker=breaker))
    driver = Driver([Granted(0, owes=True)], sends=[Sent(Verdict.OK, takes_s=takes_s)])

    driver.run(Plan(policy, 1))

    assert driver.of(Settle)[0].is_slow is is_slow


@pytest.mark.parametrize("safety", [Safety.SAFE, Safety.IDEMPOTENT, Safety.UNSAFE])
def test_what_has_surely_not_arrived_is_sent_again_whatever_it_does(safety: Safety) -> None:
    lost = Sent(Verdict.DISCONNECTED, may_have_arrived=False)
    driver = Driver(sends=[lost, lost, OK])

    assert driver.run(PLAN._replace(safety=safety)) == Serve(Source.LIVE, Why.ANSWERED)


def test_what_may_have_been_carried_out_and_must_not_be_twice_is_not_sent_again() -> None:
    driver = Driver(sends=[Sent(Verdict.TIMED_OUT)])

    ending = driver.run(Plan(POLICY, routes=2, safety=Safety.UNSAFE))

    assert isinstance(ending, GiveUp)
    assert ending.why is Why.OUTCOME_UNKNOWN
    assert len(driver.of(Send)) == 1


def test_an_idempotent_request_is_sent_again_to_the_same_provider_and_to_no_other() -> None:
    driver = Driver(sends=[Sent(Verdict.TIMED_OUT)])

    ending = driver.run(Plan(POLICY, routes=2, safety=Safety.IDEMPOTENT))

    assert isinstance(ending, GiveUp)
    assert ending.why is Why.OUTCOME_UNKNOWN
    assert [send.route for send in driver.of(Send)] == [0, 0, 0, 0]


def test_an_attempt_that_may_have_arrived_stays_unknown_when_later_ones_surely_did_not() -> None:
    driver = Driver(sends=[Sent(Verdict.TIMED_OUT), Sent(Verdict.DISCONNECTED, may_have_arrived=False)])

    ending = driver.run(Plan(POLICY, routes=2, safety=Safety.IDEMPOTENT))

    assert isinstance(ending, GiveUp)
    assert (ending.why, ending.attempt.number) == (Why.OUTCOME_UNKNOWN, 1)


def test_an_unsafe_request_that_was_surely_not_accepted_goes_to_the_next_provider() -> None:
    driver = Driver(sends=[*[Sent(Verdict.THROTTLED, may_have_arrived=False)] * 4, OK])

    ending = driver.run(Plan(POLICY, routes=2, safety=Safety.UNSAFE))

    assert ending == Serve(Source.LIVE, Why.ANSWERED)
    assert driver.of(Send)[-1].route == 1


@pytest.mark.parametrize(
    ("verdict", "settlement"),
    [
        (Verdict.OK, Settlement.WELL),
        (Verdict.NOT_FOUND, Settlement.WELL),
        (Verdict.REQUEST_REFUSED, Settlement.WELL),
        (Verdict.CREDENTIALS_REFUSED, Settlement.NOTHING),
        (Verdict.THROTTLED, Settlement.THROTTLED),
        (Verdict.UNAVAILABLE, Settlement.ILL),
        (Verdict.MALFORMED, Settlement.ILL),
        (Verdict.TIMED_OUT, Settlement.ILL),
        (Verdict.DISCONNECTED, Settlement.ILL),
    ],
)
def test_illness_counts_and_neither_throttling_nor_the_callers_mistake_is_illness(
    verdict: Verdict, settlement: Settlement
) -> None:
    assert settlement_of(verdict) is settlement


turns: st.SearchStrategy[Turn] = st.one_of(
    st.builds(
        Granted,
        generation=st.just(0),
        wait_us=st.integers(0, 3_000_000),
        is_probe=st.booleans(),
        owes=st.booleans(),
    ),
    st.builds(RefusedByCircuit, st.integers(1, 60_000_000), st.booleans()),
    st.builds(RefusedByLimiter, st.integers(1, 60_000_000)),
    st.builds(Fetched, st.floats(0, 6)),
    st.none(),
)
sends = st.builds(
    Sent,
    st.sampled_from(Verdict),
    st.none() | st.floats(0, 100),
    takes_s=st.floats(0, 7),
    is_doubtful=st.booleans(),
    may_have_arrived=st.booleans(),
)


@pytest.mark.property(19)
@pytest.mark.property(21)
@given(
    driver=st.builds(
        Driver,
        st.lists(turns, max_size=12).map(lambda drawn: [*drawn, GRANTED]),
        st.lists(sends, min_size=1, max_size=12),
        kept=st.none() | st.just(FRESH) | st.just(STALE),
        may_retry=st.booleans(),
        substitute=st.none() | st.just(Source.DEFAULT),
        chance=st.floats(0, 0.999),
    ),
    routes=st.integers(1, 3),
    max_retries=st.integers(0, 4),
    safety=st.sampled_from(Safety),
    is_kept=st.booleans(),
)
def test_every_call_ends_within_its_tries_and_its_deadline(
    driver: Driver, routes: int, max_retries: int, safety: Safety, is_kept: bool
) -> None:
    """Whatever the stores and the providers say: tries, waits and the deadline hold, and every end is honest."""
    policy = CallPolicy(5, 60, RetryPolicy(max_retries=max_retries), AdmissionPolicy(), None)
    plan = Plan(policy, routes, safety, is_kept and safety is Safety.SAFE, has_substitute=True)

    ending = driver.run(plan)

    granted = [admit for admit in driver.of(Admit) if isinstance(admit.admission, Granted)]
    sent = driver.of(Send)
    assert len(sent) <= len(granted), "nothing is sent that was not admitted"
    assert driver.now <= START + 60 + 1e-6
    for route in range(routes):
        assert sum(send.route == route for send in sent) <= 1 + max_retries
    for admit in driver.of(Admit):
        assert 0 < admit.patience_s <= 60 - 5 * (routes - 1 - admit.route)
    for slept in driver.slept:
        assert 0 <= slept.lasts <= 60
    _is_honest(ending, driver, safety)


def _is_honest(ending: Ending, driver: Driver, safety: Safety) -> None:
    sent = driver.of(Send)
    doubtful = [send for send in sent if send.attempt.may_have_arrived]
    match ending:
        case Serve(Source.LIVE):
            assert sent[-1].attempt.verdict is Verdict.OK
        case Serve() | FallBack(Source.STALE):
            assert driver.kept
        case FallBack(source):
            assert source is driver.substitute
        case Share():
            assert any(admit.has_failed_elsewhere for admit in driver.of(Admit))
        case GiveUp(attempt, why):
            assert attempt in [send.attempt for send in sent]
            assert attempt.verdict is not Verdict.OK
            assert why is not Why.OUTCOME_UNKNOWN or attempt.may_have_arrived
        case Reject():
            assert not sent
    if safety is Safety.UNSAFE:
        assert all(send is sent[-1] for send in doubtful), "nothing that may have arrived is sent again"
    if safety is Safety.IDEMPOTENT and doubtful:
        assert {send.route for send in sent[sent.index(doubtful[0]) :]} == {doubtful[0].route}


def test_no_effect_is_yielded_twice() -> None:
    driver = Driver(sends=[ILL])
    driver.run(PLAN)
    assert len({id(effect) for effect in driver.effects}) == len(driver.effects)
    assert len(driver.of(Sleep)) == 3
