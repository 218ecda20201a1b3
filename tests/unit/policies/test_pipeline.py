"""The pipeline: what follows from what has happened in a call. No driver, no store, no clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.answer import Source
from core.model.call_record import Attempt
from core.model.verdict import Verdict
from core.policies import retry
from core.policies.admission import AdmissionPolicy, Granted, RefusedByCircuit, RefusedByLimiter
from core.policies.pipeline import (
    Admit,
    Ending,
    FallBack,
    GiveUp,
    OutOfTime,
    Progress,
    Reject,
    Send,
    Serve,
    Step,
    Wait,
    next_step,
)
from core.policies.policy import CallPolicy
from core.policies.retry import RetryPolicy

POLICY = CallPolicy(timeout_s=5, deadline_s=60, retry=RetryPolicy(), admission=AdmissionPolicy(), cache=None)
START = 100.0


def progress(routes: int = 1, *, deadline: float = START + 60, stale: bool = False) -> Progress:
    return Progress(
        policy=POLICY,
        routes=routes,
        deadline=deadline,
        fallbacks=frozenset({Source.STALE}) if stale else frozenset(),
    )


def attempt(verdict: Verdict, number: int = 1, retry_after: float | None = None) -> Attempt:
    return Attempt("alpha", number, 0.0, 1.0, verdict, retry_after=retry_after)


def sent(start: Progress, verdict: Verdict, retry_after: float | None = None) -> Progress:
    """`start` after one admitted attempt on its route that came to `verdict`."""
    admitted = start.after_admission(start.route, Granted(generation=0))
    return admitted.after_attempt(attempt(verdict, len(start.attempts) + 1, retry_after))


def test_a_fresh_answer_is_served_without_asking_anybody() -> None:
    kept = Progress(POLICY, routes=1, deadline=START + 60, is_fresh=True)

    assert next_step(kept, START, 0.5) == Serve(Source.CACHE)


def test_the_store_is_asked_before_anything_is_sent() -> None:
    assert next_step(progress(), START, 0.5) == Admit(route=0, max_wait_s=60)


def test_a_granted_attempt_is_sent_with_its_time_out() -> None:
    step = next_step(progress().after_admission(0, Granted(generation=3)), START, 0.5)

    assert step == Send(route=0, number=1, timeout_s=5, is_telling=True)


def test_a_granted_attempt_waits_for_its_turn_once() -> None:
    granted = progress().after_admission(0, Granted(generation=0, wait_us=1_500_000))

    assert next_step(granted, START, 0.5) == Wait(1.5, for_turn=True)
    assert isinstance(next_step(granted.after_wait(), START + 1.5, 0.5), Send)


def test_the_last_attempt_gets_only_what_the_deadline_leaves() -> None:
    granted = progress(deadline=START + 2).after_admission(0, Granted(generation=0))

    step = next_step(granted, START, 0.5)

    assert isinstance(step, Send)
    assert step.timeout_s == 2


@pytest.mark.parametrize("verdict", [Verdict.NOT_FOUND, Verdict.REQUEST_REFUSED])
def test_a_final_answer_is_neither_retried_nor_taken_elsewhere(verdict: Verdict) -> None:
    ended = sent(progress(routes=2, stale=True), verdict)

    assert next_step(ended, START, 0.5) == GiveUp(ended.attempts[-1])


def test_after_a_failure_the_wait_is_drawn_from_the_back_off() -> None:
    failed = sent(progress(), Verdict.UNAVAILABLE)

    assert next_step(failed, START, 0.5) == Wait(0.25, for_turn=False)
    assert next_step(failed.after_wait(), START + 0.25, 0.5) == Admit(route=0, max_wait_s=59.75)


def test_a_retry_after_is_honoured_over_the_drawn_wait() -> None:
    throttled = sent(progress(), Verdict.THROTTLED, retry_after=7.0)

    assert next_step(throttled, START, 0.5) == Wait(7.0, for_turn=False)


def test_a_wait_that_outlasts_the_deadline_is_not_begun() -> None:
    throttled = sent(progress(deadline=START + 5), Verdict.THROTTLED, retry_after=7.0)

    assert next_step(throttled, START, 0.5) == GiveUp(throttled.attempts[-1])


def test_when_the_tries_are_used_up_the_next_provider_is_asked() -> None:
    exhausted = progress(routes=2)
    for _ in range(4):
        exhausted = sent(exhausted, Verdict.UNAVAILABLE)

    assert next_step(exhausted, START, 0.5) == Admit(route=1, max_wait_s=60)


def test_the_next_provider_has_all_its_tries() -> None:
    moved = progress(routes=2)
    for _ in range(4):
        moved = sent(moved, Verdict.UNAVAILABLE)
    moved = moved.after_admission(1, Granted(generation=0)).after_attempt(attempt(Verdict.UNAVAILABLE, 5))

    assert isinstance(next_step(moved, START, 0.5), Wait)


def test_a_refused_key_is_not_retried() -> None:
    refused = sent(progress(), Verdict.CREDENTIALS_REFUSED)

    assert next_step(refused, START, 0.5) == GiveUp(refused.attempts[-1])


def test_a_doubtful_refusal_of_the_key_is_tried_twice_more() -> None:
    doubtful = progress()
    steps: list[Step] = []
    for _ in range(3):
        admitted = doubtful.after_admission(0, Granted(generation=0))
        doubtful = admitted.after_attempt(attempt(Verdict.CREDENTIALS_REFUSED), is_doubtful=True)
        steps.append(next_step(doubtful, START, 0.5))

    assert [type(step) for step in steps] == [Wait, Wait, GiveUp]


def test_an_old_answer_stands_in_for_an_open_circuit() -> None:
    refusal = RefusedByCircuit(30_000_000)
    refused = progress(stale=True).after_admission(0, refusal)

    assert next_step(refused, START, 0.5) == FallBack(Source.STALE, refusal)


def test_without_anything_to_stand_in_the_soonest_refusal_is_the_error() -> None:
    soon, late = RefusedByLimiter(2_000_000), RefusedByCircuit(30_000_000)
    refused = progress(routes=2).after_admission(0, late).after_admission(1, soon)

    assert next_step(refused, START, 0.5) == Reject(soon)


def test_a_provider_that_hangs_leaves_the_next_one_its_time() -> None:
    """Of 15 seconds, the first of two providers has 10: the second can still take its whole time-out."""
    policy = CallPolicy(5, 15, RetryPolicy(), AdmissionPolicy(), None)
    hanging = Progress(policy, routes=2, deadline=START + 15)

    assert next_step(hanging, START, 0.5) == Admit(route=0, max_wait_s=10)
    for _ in range(2):
        hanging = sent(hanging, Verdict.TIMED_OUT)
    assert next_step(hanging, START + 10, 0.5) == Admit(route=1, max_wait_s=5)


@pytest.mark.parametrize(("left", "is_telling"), [(5, True), (2.5, True), (2.4, False)])
def test_a_time_out_cut_short_by_ourselves_says_nothing_of_the_provider(
    left: float, is_telling: bool
) -> None:
    granted = progress(deadline=START + left).after_admission(0, Granted(generation=0))

    step = next_step(granted, START, 0.5)

    assert isinstance(step, Send)
    assert step.is_telling is is_telling


def test_past_the_deadline_nothing_is_asked() -> None:
    assert next_step(progress(), START + 60, 0.5) == Reject(OutOfTime())


def test_a_turn_that_comes_after_the_deadline_is_not_taken() -> None:
    late = progress().after_admission(0, Granted(generation=0, wait_us=1)).after_wait()

    assert next_step(late, START + 60, 0.5) == Reject(OutOfTime())


admissions = st.one_of(
    st.builds(Granted, generation=st.just(0), wait_us=st.integers(0, 3_000_000)),
    st.builds(RefusedByCircuit, st.integers(1, 60_000_000)),
    st.builds(RefusedByLimiter, st.integers(1, 60_000_000)),
)
outcomes = st.tuples(
    st.sampled_from(list(Verdict)), st.one_of(st.none(), st.floats(0, 100)), st.floats(0, 5), st.booleans()
)


@pytest.mark.property(19)
@pytest.mark.property(21)
@given(
    data=st.data(),
    routes=st.integers(1, 3),
    stale=st.booleans(),
    max_retries=st.integers(0, 4),
    chances=st.floats(0, 0.999),
)
def test_every_call_ends_within_its_tries_and_its_deadline(  # noqa: C901 -- one case a step.
    data: st.DataObject, routes: int, stale: bool, max_retries: int, chances: float
) -> None:
    """Whatever the stores and the providers say: tries, waits and the deadline hold, and every end is honest."""
    policy = CallPolicy(5, 60, RetryPolicy(max_retries=max_retries), AdmissionPolicy(), None)
    call = Progress(
        policy,
        routes,
        deadline=START + 60,
        fallbacks=frozenset({Source.STALE}) if stale else frozenset(),
    )
    now, tries, granted_open = START, [0] * routes, 0
    for _ in range(200):
        step = next_step(call, now, chances)
        if isinstance(step, Ending):
            break
        match step:
            case Admit(route, max_wait_s):
                assert 0 < max_wait_s <= 60 - 5 * (routes - 1 - route)
                admission = data.draw(admissions)
                granted_open = 1 if isinstance(admission, Granted) else 0
                call = call.after_admission(route, admission)
            case Wait(seconds, for_turn):
                last = call.attempts[-1] if call.attempts else None
                if not for_turn and last is not None:
                    longest = retry.longest_delay(policy.retry, call.tries)
                    assert (last.retry_after or 0.0) <= seconds <= max(longest, last.retry_after or 0.0)
                    assert longest <= 60
                now += seconds
                call = call.after_wait()
            case Send(route, number, timeout_s):
                assert granted_open == 1, "nothing is sent that was not admitted"
                assert now < START + 60
                assert now + timeout_s <= START + 60 - 5 * (routes - 1 - route) + 1e-9
                granted_open = 0
                tries[route] += 1
                verdict, retry_after, took, doubtful = data.draw(outcomes)
                now += min(took, timeout_s)
                done = Attempt("alpha", number, 0, 0, verdict, retry_after=retry_after)
                call = call.after_attempt(done, is_doubtful=doubtful)
    else:
        pytest.fail("the call never ended")

    assert all(count <= 1 + max_retries for count in tries)
    match step:
        case Serve(source):
            assert source is Source.LIVE
            assert call.attempts[-1].verdict is Verdict.OK
        case FallBack():
            assert stale
        case GiveUp(last):
            assert last == call.attempts[-1]
        case Reject():
            assert not call.attempts
