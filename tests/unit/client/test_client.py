"""The client carries a call to its end and leaves one record, whatever happens on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.errors import (
    AttemptTimedOut,
    CallError,
    CircuitOpen,
    ConnectionFailed,
    CredentialsRefused,
    DeadlineExceeded,
    IntegrationDisabled,
    NotFound,
    ProviderUnavailable,
    RateLimited,
    RequestRefused,
    Throttled,
)
from core.model.answer import Source
from core.model.health import CircuitState
from core.model.verdict import Verdict
from core.policies.admission import AdmissionPolicy, Granted, Settlement
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.rate_limit import LimitPolicy
from core.policies.retry import RetryPolicy
from core.state.base import Ended
from core.transports.base import TransportFault
from tests.fakes import FakeClock
from tests.scripted import POLICY, Bench, Outcome, WordProvider, answer, cut_off, outage, repeated


@pytest.fixture
def bench(clock: FakeClock) -> Bench:
    return Bench(clock)


def test_a_live_answer_says_that_it_is_live(bench: Bench) -> None:
    bench.providers(alpha=[answer("ok:hi")])

    response = bench.call()

    assert (response.value, response.source, response.provider) == ("hi", Source.LIVE, "alpha")
    assert response.attempts == 1


def test_the_same_question_within_its_time_to_live_is_not_asked_again(bench: Bench) -> None:
    bench.providers(alpha=[answer("ok:hi"), answer("ok:changed")])

    bench.call()
    bench.clock.advance(59)
    second = bench.call()

    assert (second.value, second.source) == ("hi", Source.CACHE)
    assert second.age_seconds == pytest.approx(59, abs=0.1)
    assert bench.sent() == 1


def test_a_failed_attempt_is_tried_again_after_a_wait(bench: Bench) -> None:
    bench.providers(alpha=[outage(), cut_off(), answer("ok:hi")])

    response = bench.call()

    assert response.value == "hi"
    assert bench.clock.slept == [0.25, 0.5]
    assert [attempt.verdict for attempt in bench.records[0].attempts] == ["unavailable", "disconnected", "ok"]
    assert bench.records[0].retry_count == 2


def test_a_failing_call_is_tried_once_and_three_times_more(bench: Bench) -> None:
    bench.providers(alpha=[outage()])

    with pytest.raises(ProviderUnavailable):
        bench.call()

    assert bench.sent() == 4


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (answer("missing"), NotFound),
        (answer("wrong"), RequestRefused),
        (answer("key"), CredentialsRefused),
        (cut_off(), ConnectionFailed),
        (outage(), ProviderUnavailable),
        (answer("slow-down:1"), Throttled),
    ],
)
def test_each_verdict_has_its_own_error(bench: Bench, outcome: Outcome, error: type[CallError]) -> None:
    bench.providers(alpha=[outcome])

    with pytest.raises(error) as raised:
        bench.call()

    assert raised.value.integration == "words"
    assert raised.value.operation == "look_up"
    assert raised.value.trace_id == "0" * 32
    assert raised.value.attempt >= 1


def test_five_failures_open_the_circuit_and_then_nothing_is_sent(bench: Bench) -> None:
    bench.providers(alpha=[outage()])
    for word in ("one", "two"):
        with pytest.raises(CallError):
            bench.call(word)
    sent = bench.sent()

    with pytest.raises(CircuitOpen) as refused:
        bench.call("three")

    assert sent == 5
    assert bench.sent() == sent
    assert refused.value.retry_after == pytest.approx(60, abs=1)
    assert [record.circuit_opened for record in bench.records] == [False, True, False]
    assert bench.records[-1].circuit_state is CircuitState.OPEN


def test_an_old_answer_stands_in_when_the_provider_fails(bench: Bench) -> None:
    bench.providers(alpha=repeated(answer("ok:hi"), 1, [outage()]))
    bench.call()
    bench.clock.advance(120)

    stale = bench.call()

    assert (stale.value, stale.source) == ("hi", Source.STALE)
    assert stale.age_seconds >= 120
    assert stale.stale_because is not None
    assert "HTTP 503" in stale.stale_because
    assert not bench.records[-1].is_success
    assert bench.records[-1].error_type == "ProviderUnavailable"


def test_an_answer_past_its_stale_window_does_not_stand_in(bench: Bench) -> None:
    bench.providers(alpha=repeated(answer("ok:hi"), 1, [outage()]))
    bench.call()
    bench.clock.advance(60 + 600)

    with pytest.raises(ProviderUnavailable):
        bench.call()


def test_a_second_provider_answers_when_the_first_fails(bench: Bench) -> None:
    bench.providers(alpha=[outage()], beta=[answer("ok:from beta")])

    response = bench.call()

    assert (response.value, response.provider) == ("from beta", "beta")
    assert bench.records[0].provider == "beta"
    assert bench.records[0].is_success


def test_an_ill_provider_is_skipped_while_its_circuit_is_open(bench: Bench) -> None:
    bench.providers(alpha=[outage()], beta=[answer("ok:from beta")])
    for word in ("one", "two"):
        bench.call(word)
    sent = bench.sent("alpha")

    bench.call("three")

    assert bench.sent("alpha") == sent == 5


def test_a_provider_that_asks_for_a_pause_is_left_alone_by_everybody(bench: Bench) -> None:
    bench.policy = replace(POLICY, retry=RetryPolicy(max_retries=0))
    bench.providers(alpha=[answer("slow-down:30"), answer("ok:hi")])
    with pytest.raises(Throttled):
        bench.call("one")

    with pytest.raises(RateLimited) as refused:
        bench.call("two")

    assert refused.value.retry_after == pytest.approx(30, abs=0.1)
    assert bench.sent() == 1
    assert bench.records[-1].is_rate_limited


def test_a_call_beyond_the_limit_waits_for_its_turn(bench: Bench) -> None:
    limits = LimitPolicy(per_minute=10, per_hour=1000, max_wait_us=10_000_000, reserved_percent=0)
    bench.policy = replace(POLICY, admission=AdmissionPolicy(limits=limits))
    bench.providers(alpha=[answer("ok:hi")])

    bench.call("one")
    bench.call("two")

    assert bench.clock.slept == [pytest.approx(6.0, abs=0.1)]
    assert bench.records[1].limiter_wait_ms == pytest.approx(6000, abs=100)
    assert bench.records[1].is_rate_limited


def test_an_interrupted_probe_lets_the_next_one_pass(bench: Bench) -> None:
    """Whoever is interrupted in the middle of an attempt keeps neither its probe nor its silence."""
    breaker = BreakerPolicy(failure_threshold=1)
    bench.policy = replace(
        POLICY, retry=RetryPolicy(max_retries=0), admission=AdmissionPolicy(breaker=breaker, limits=None)
    )
    bench.providers(alpha=[outage(), KeyboardInterrupt(), answer("ok:hi")])
    with pytest.raises(ProviderUnavailable):
        bench.call("one")
    bench.clock.advance(61)
    with pytest.raises(KeyboardInterrupt):
        bench.call("two")

    assert bench.call("three").value == "hi"
    assert bench.records[1].error_type == "KeyboardInterrupt"


def test_a_slow_provider_is_cut_off_at_its_time_out(bench: Bench) -> None:
    bench.policy = replace(POLICY, deadline_s=12)
    bench.providers(alpha=[answer("ok:hi")])
    bench.transports["alpha"].takes_s = 3

    bench.call()

    assert bench.transports["alpha"].sent[0][1] == 5


def test_every_end_leaves_one_record_with_its_reason(bench: Bench) -> None:
    bench.providers(alpha=[answer("ok:hi"), answer("missing"), outage()])
    bench.call("one")
    bench.call("one")
    for word in ("two", "three", "four", "five"):
        with pytest.raises(CallError):
            bench.call(word)
    refusal = IntegrationDisabled(integration="words", operation="look_up")
    with pytest.raises(IntegrationDisabled):
        bench.client.call(bench.wanted("six")._replace(refusal=refusal))

    assert [(record.source, record.error_type) for record in bench.records] == [
        (Source.LIVE, None),
        (Source.CACHE, None),
        (None, "NotFound"),
        (None, "ProviderUnavailable"),
        (None, "ProviderUnavailable"),
        (None, "CircuitOpen"),
        (None, "IntegrationDisabled"),
    ]
    assert len({record.id for record in bench.records}) == len(bench.records)
    assert all(record.integration == "words" and record.duration_ms >= 0 for record in bench.records)


def test_a_check_passes_by_the_cache_and_is_on_record(bench: Bench) -> None:
    bench.providers(alpha=[answer("ok:hi")])
    bench.call()

    attempt = bench.client.check(bench.wanted(), bench.routes()[0])

    assert attempt.verdict is Verdict.OK
    assert bench.transports["alpha"].sent[-1][0].url == "https://alpha.example/health"
    assert bench.records[-1].exchange is not None
    assert bench.records[-1].exchange.url == "https://alpha.example/health"


def test_a_check_takes_a_token_and_does_not_wait_for_one(bench: Bench) -> None:
    """A provider that has all the traffic it allows is busy, not ill; checks do not break its limit."""
    bench.policy = replace(POLICY, admission=AdmissionPolicy(limits=LimitPolicy(1, 1, 5_000_000)))
    bench.providers(alpha=[answer("ok:hi")])
    bench.call()

    attempt = bench.client.check(bench.wanted(), bench.routes()[0])

    assert attempt.verdict is Verdict.THROTTLED
    assert bench.sent() == 1
    assert bench.clock.slept == []
    assert bench.records[-1].is_rate_limited


def test_a_check_reports_an_open_circuit_and_does_not_ask(bench: Bench) -> None:
    bench.policy = replace(POLICY, admission=AdmissionPolicy(breaker=BreakerPolicy(failure_threshold=1)))
    bench.providers(alpha=[outage()])
    with pytest.raises(ProviderUnavailable):
        bench.call()
    sent = bench.sent()

    attempt = bench.client.check(bench.wanted(), bench.routes()[0])

    assert attempt.verdict is Verdict.UNAVAILABLE
    assert attempt.detail.startswith("the circuit breaker is open: free again in ")
    assert bench.sent() == sent
    assert bench.records[-1].error_type == "CircuitOpen"


def test_a_check_that_is_asked_to_slow_down_holds_everybody_back(bench: Bench) -> None:
    bench.providers(alpha=[answer("slow-down:30"), answer("ok:hi")])

    bench.client.check(bench.wanted(), bench.routes()[0])

    with pytest.raises(RateLimited):
        bench.call()


def test_a_check_closes_a_circuit_that_is_half_open(bench: Bench) -> None:
    """A provider that has recovered is used again without a user's call having to find out."""
    bench.policy = replace(POLICY, admission=AdmissionPolicy(breaker=BreakerPolicy(failure_threshold=1)))
    bench.providers(alpha=repeated(outage(), 1, [answer("ok:hi")]))
    bench.policy = replace(bench.policy, retry=RetryPolicy(max_retries=0))
    with pytest.raises(ProviderUnavailable):
        bench.call()
    bench.clock.advance(61)

    bench.client.check(bench.wanted(), bench.routes()[0])

    assert bench.state.peek("words.alpha").state.breaker.opened_at is None


def test_a_check_of_a_closed_circuit_neither_opens_nor_excuses(bench: Bench) -> None:
    bench.policy = replace(POLICY, retry=RetryPolicy(max_retries=0))
    bench.providers(alpha=[outage(), outage(), answer("ok:hi"), outage()])
    with pytest.raises(ProviderUnavailable):
        bench.call()
    for _ in range(2):
        bench.client.check(bench.wanted(), bench.routes()[0])

    assert bench.state.peek("words.alpha").state.breaker.failures == 1


def test_a_hanging_provider_leaves_its_stand_in_the_time_to_answer(bench: Bench) -> None:
    bench.policy = replace(POLICY, deadline_s=15)
    timed_out = TransportFault(Verdict.TIMED_OUT, "no answer in time", may_have_arrived=True)
    bench.providers(alpha=[timed_out], beta=[answer("ok:from beta")])
    bench.transports["alpha"].takes_s = 5

    response = bench.call()

    assert (response.value, response.attempts) == ("from beta", 3)


def test_a_deadline_of_our_own_is_not_held_against_the_provider(bench: Bench) -> None:
    """What the queue before it has eaten of the deadline, an attempt is too short to judge by."""
    breaker = BreakerPolicy(failure_threshold=1)
    limits = LimitPolicy(per_minute=10, per_hour=1000, max_wait_us=10_000_000, reserved_percent=0)
    bench.policy = replace(POLICY, deadline_s=6.1, admission=AdmissionPolicy(breaker=breaker, limits=limits))
    timed_out = TransportFault(Verdict.TIMED_OUT, "no answer in time", may_have_arrived=True)
    bench.providers(alpha=[answer("ok:hi"), timed_out])
    bench.call("one")

    with pytest.raises(AttemptTimedOut):
        bench.call("two")

    assert bench.transports["alpha"].sent[-1][1] < 0.2
    assert bench.state.peek("words.alpha").state.breaker.opened_at is None


@pytest.mark.parametrize("moment", ["making the request", "waiting for its turn", "running out of time"])
def test_a_probe_that_is_never_sent_is_given_back(
    bench: Bench, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends a call between the grant and the end of its attempt, the next one may probe."""
    limits = LimitPolicy(per_minute=600, per_hour=6000, max_wait_us=10_000_000)
    bench.policy = replace(
        POLICY,
        deadline_s=4,
        retry=RetryPolicy(max_retries=0),
        admission=AdmissionPolicy(breaker=BreakerPolicy(failure_threshold=1), limits=limits),
    )
    bench.providers(alpha=[outage(), answer("ok:hi")])
    with pytest.raises(ProviderUnavailable):
        bench.call("one")
    bench.clock.advance(61)
    state = bench.state.peek("words.alpha").state
    with monkeypatch.context() as patch:
        if moment == "making the request":
            patch.setattr(WordProvider, "request", _interrupt)
        else:
            ended = Ended(Granted(99), Settlement.NOTHING, pause_us=3_000_000)
            bench.state.settle("words.alpha", AdmissionPolicy(), ended)
        if moment == "waiting for its turn":
            patch.setattr(bench.clock, "sleep", _interrupt)
        if moment == "running out of time":
            patch.setattr(bench.clock, "sleep", lambda _: bench.clock.advance(5))
        with pytest.raises((KeyboardInterrupt, DeadlineExceeded)):
            bench.call("two")

    assert state.breaker.probe_until is None
    assert bench.call("three").value == "hi"


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_the_time_out_error_tells_what_to_do(bench: Bench) -> None:
    error = AttemptTimedOut(
        integration="words", operation="look_up", provider="alpha", attempt=2, trace_id="ab"
    )

    assert str(error) == (
        "words (alpha).look_up: the provider did not answer in time [attempt 2, trace ab]. "
        "Check the provider, or allow more time (timeout_seconds)."
    )
