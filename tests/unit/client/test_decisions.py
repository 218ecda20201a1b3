"""Each call leaves on record what was decided about it, and enough to play it again under another policy."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import CallError, CircuitOpen, NotFound, RateLimited
from core.model.answer import Source
from core.model.call_record import CallRecord
from core.model.calling import CallClass
from core.model.decision import CacheSight, Decision, Turn, Why
from core.model.health import CircuitState
from core.policies.admission import AdmissionPolicy, Ask, Granted, RefusedByCircuit, RefusedByLimiter
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.confirmation import paused_since, refused_since
from core.policies.override import OverrideMode
from core.policies.pipeline import (
    Admit,
    Confirm,
    Ending,
    Enter,
    Join,
    Look,
    Plan,
    Send,
    Settle,
    Sleep,
    Spawn,
    Substitute,
    flow,
)
from core.policies.policy import CallPolicy
from core.policies.rate_limit import LimitPolicy
from core.policies.retry import RetryPolicy
from core.state.base import Ended
from core.state.memory import MemoryState
from tests.fakes import FakeClock
from tests.scripted import POLICY, Bench, Outcome, answer, cut_off, outage

PROVIDERS = ("alpha", "beta")


@pytest.fixture
def bench(clock: FakeClock) -> Bench:
    return Bench(clock)


def decided(record: CallRecord) -> Decision:
    assert record.decision is not None
    return record.decision


def test_a_call_says_what_it_found_and_what_was_left(bench: Bench) -> None:
    bench.providers(alpha=[answer("ok:hi")])

    bench.client.call(bench.wanted(call_class=CallClass.BATCH))

    decision = decided(bench.records[0])
    assert (decision.why, decision.cache, decision.call_class) == (Why.ANSWERED, CacheSight.NOTHING, "batch")
    assert decision.deadline_ms == 60_000
    [sight] = decision.admissions
    assert (sight.provider, sight.turn, sight.circuit) == ("alpha", Turn.GRANTED, CircuitState.CLOSED)
    assert sight.failures == 0
    assert sight.minute_left is not None
    assert sight.hour_left is not None
    assert sight.minute_left > 0
    assert sight.hour_left > 0


def test_a_hit_says_how_old_its_answer_is_and_where_it_was(bench: Bench) -> None:
    assert POLICY.cache is not None
    bench.policy = replace(POLICY, cache=replace(POLICY.cache, local_s=5))
    bench.providers(alpha=[answer("ok:hi")])
    bench.call()
    bench.clock.advance(3)

    here, there = bench.call(), bench.another_client().call(bench.wanted())

    assert here.value == there.value == "hi"
    assert [(decided(record).cache, decided(record).why) for record in bench.records[1:]] == [
        (CacheSight.FRESH_HERE, Why.KEPT_ANSWER),
        (CacheSight.FRESH, Why.KEPT_ANSWER),
    ]
    assert [decided(record).cache_age_ms for record in bench.records[1:]] == pytest.approx(
        [3010, 3010], abs=20
    )
    assert bench.sent() == 1


def test_what_one_process_keeps_at_hand_lasts_so_long_and_no_longer(bench: Bench) -> None:
    assert POLICY.cache is not None
    bench.policy = replace(POLICY, cache=replace(POLICY.cache, local_s=5))
    bench.providers(alpha=[answer("ok:hi"), answer("ok:changed")])
    bench.call()
    bench.another_client().cache.delete_pattern("words:*")

    bench.clock.advance(4.9)
    assert bench.call().value == "hi"
    bench.clock.advance(0.2)
    assert bench.call().value == "changed"


def test_a_refusal_says_until_when_and_by_whom(bench: Bench) -> None:
    bench.providers(alpha=[answer("ok:hi")])
    bench.state.steer(
        "words.alpha", OverrideMode.FORCED_OPEN, seconds=90, by="ops", reason="their maintenance"
    )

    with pytest.raises(CircuitOpen, match=r"forced by ops: their maintenance; free again in 90\.0 s"):
        bench.call()

    [sight] = decided(bench.records[0]).admissions
    assert (sight.turn, sight.reason) == (Turn.CIRCUIT_OPEN, "ops: their maintenance")
    assert sight.retry_after_ms == pytest.approx(90_000, abs=1)


def test_a_wait_for_a_turn_stands_in_the_record(bench: Bench) -> None:
    limits = LimitPolicy(per_minute=10, per_hour=1000, max_wait_us=10_000_000, reserved_percent=0)
    bench.policy = replace(POLICY, admission=AdmissionPolicy(limits=limits))
    bench.providers(alpha=[answer("ok:hi")])

    bench.call("one")
    bench.call("two")

    [sight] = decided(bench.records[1]).admissions
    assert sight.wait_ms == pytest.approx(6000, abs=20)
    assert sight.minute_left == 0


def test_a_refusal_by_the_limit_says_when_the_turn_would_come(bench: Bench) -> None:
    limits = LimitPolicy(per_minute=1, per_hour=1000, max_wait_us=0, reserved_percent=0)
    bench.policy = replace(POLICY, admission=AdmissionPolicy(limits=limits))
    bench.providers(alpha=[answer("ok:hi")])
    bench.call("one")

    with pytest.raises(RateLimited):
        bench.call("two")

    [sight] = decided(bench.records[1]).admissions
    assert sight.turn is Turn.LIMIT_REACHED
    assert sight.retry_after_ms == pytest.approx(60_000, abs=20)
    assert (sight.minute_left, sight.hour_left) == (0, 99), "an hour of 1,000 holds a hundred at once"


def test_policies_have_names_that_tell_them_apart(bench: Bench) -> None:
    bench.providers(alpha=[answer("ok:hi")])
    bench.call("one")
    bench.policy = replace(POLICY, retry=RetryPolicy(max_retries=1))
    bench.call("two")
    bench.policy = POLICY
    bench.call("three")

    first, other, again = (decided(record).policy for record in bench.records)
    assert first == again != other


def test_that_there_is_no_such_thing_is_remembered_for_a_while(bench: Bench) -> None:
    assert POLICY.cache is not None
    bench.policy = replace(POLICY, cache=replace(POLICY.cache, negative_s=30))
    bench.providers(alpha=[answer("missing"), answer("ok:now there is")])
    for _ in range(3):
        with pytest.raises(NotFound):
            bench.call()
    assert bench.sent() == 1
    assert decided(bench.records[-1]).cache is CacheSight.FRESH
    assert bench.records[-1].is_success

    bench.clock.advance(31)

    assert bench.call().value == "now there is"


def test_an_old_answer_is_served_at_once_while_a_fresh_one_is_fetched_behind(bench: Bench) -> None:
    assert POLICY.cache is not None
    bench.policy = replace(POLICY, cache=replace(POLICY.cache, revalidate_s=300))
    bench.providers(alpha=[answer("ok:old"), answer("ok:new")])
    bench.call()
    bench.clock.advance(100)

    served = bench.call()

    assert (served.value, served.source) == ("old", Source.STALE)
    assert served.stale_because == "a fresh answer is being fetched"
    assert bench.records[-1].is_success
    assert decided(bench.records[-1]).why is Why.KEPT_WHILE_REFRESHED
    assert bench.sent() == 1
    bench.errands.run()
    assert bench.sent() == 2
    assert (bench.call().value, bench.records[-1].source) == ("new", Source.CACHE)


def test_a_refresh_that_fails_leaves_the_old_answer(bench: Bench) -> None:
    assert POLICY.cache is not None
    bench.policy = replace(
        POLICY, cache=replace(POLICY.cache, revalidate_s=300), retry=RetryPolicy(max_retries=0)
    )
    bench.providers(alpha=[answer("ok:old"), outage()])
    bench.call()
    bench.clock.advance(100)
    bench.call()

    bench.errands.run()

    assert (bench.records[-1].is_success, bench.records[-1].error_type) == (False, "ProviderUnavailable")
    assert bench.call().value == "old"
    assert bench.records[-1].source is Source.STALE


def test_one_refresh_at_a_time_is_enough(bench: Bench) -> None:
    assert POLICY.cache is not None
    bench.policy = replace(POLICY, cache=replace(POLICY.cache, revalidate_s=300))
    bench.providers(alpha=[answer("ok:old"), answer("ok:new")])
    bench.call()
    bench.clock.advance(100)
    bench.call()
    bench.client.flights.join("words:look_up:hello refresh", "another")

    bench.call()

    assert len(bench.errands.waiting) == 1


def test_a_half_open_circuit_is_probed_by_a_check_behind_the_caller(bench: Bench) -> None:
    breaker = BreakerPolicy(failure_threshold=1, probes_by_check=True)
    bench.policy = replace(
        POLICY, retry=RetryPolicy(max_retries=0), admission=AdmissionPolicy(breaker=breaker)
    )
    bench.providers(alpha=[outage(), answer("ok:hi")])
    with pytest.raises(CallError):
        bench.call("one")
    bench.clock.advance(61)

    with pytest.raises(CircuitOpen):
        bench.call("two")
    bench.errands.run()

    assert bench.transports["alpha"].sent[-1][0].url == "https://alpha.example/health"
    assert bench.call("three").value == "hi"


outcomes: st.SearchStrategy[list[Outcome]] = st.lists(
    st.one_of(
        st.sampled_from(("ok:hi", "missing", "key", "doubt", "slow-down:2", "gibberish")).map(answer),
        st.builds(outage),
        st.builds(cut_off),
    ),
    min_size=1,
    max_size=8,
)


@given(alpha=outcomes, beta=outcomes, pauses=st.lists(st.floats(0, 40), min_size=1, max_size=5))
def test_calls_can_be_played_again_from_their_records(
    alpha: list[Outcome], beta: list[Outcome], pauses: list[float]
) -> None:
    """The records alone, under the same policy, lead the same way to the same ends, with the same waits."""
    policy = replace(POLICY, cache=None)
    bench = Bench(FakeClock(), policy=policy).providers(alpha=[*alpha], beta=[*beta])
    for pause in pauses:
        bench.clock.advance(pause)
        with suppress(CallError):
            bench.call()

    again = Replay(policy)

    for record in bench.records:
        why, made, duration_ms = again.play(record)
        assert why is decided(record).why
        assert made == [(attempt.provider, attempt.number) for attempt in record.attempts]
        assert duration_ms == pytest.approx(record.duration_ms, abs=0.01)


class Replay:
    """Plays recorded calls on a store and a clock of its own, under a policy of one's choice."""

    def __init__(self, policy: CallPolicy) -> None:
        self._policy = policy
        self._clock = FakeClock()
        self._store = MemoryState(self._clock)

    def play(self, record: CallRecord) -> tuple[Why, list[tuple[str, int]], float]:
        """Why the call ends, the attempts that it makes, and its milliseconds."""
        decision = decided(record)
        self._clock.advance((record.created_at - self._clock.now()).total_seconds())
        started = self._clock.monotonic()
        policy = replace(self._policy, deadline_s=decision.deadline_ms / 1000)
        steps = flow(Plan(policy, 2, decision.safety), started, lambda: 0.5)
        attempts = list(record.attempts)
        made: list[tuple[str, int]] = []
        held: tuple[str, Granted] | None = None
        effect = next(steps)
        while True:
            match effect:
                case Enter():
                    effect.is_in = True
                case Admit(route=route, patience_s=patience_s):
                    circuit = f"words.{PROVIDERS[route]}"
                    ask = Ask(int(patience_s * 1e6), decision.call_class)
                    outcome = self._store.open(circuit, policy.admission, ask).outcome
                    assert isinstance(outcome, Granted | RefusedByCircuit | RefusedByLimiter)
                    effect.admission = outcome
                    held = (circuit, outcome) if isinstance(outcome, Granted) else None
                case Send():
                    effect.attempt = attempt = attempts.pop(0)
                    effect.is_doubtful, effect.pause_s = attempt.is_doubtful, attempt.pause_s
                    made.append((attempt.provider, effect.number))
                    self._clock.advance(attempt.duration_ms / 1000)
                case Settle():
                    assert held is not None
                    ended = Ended(held[1], effect.settlement, round(effect.pause_s * 1e6), effect.is_slow)
                    settled = self._store.settle(held[0], policy.admission, ended)
                    effect.has_opened, effect.may_retry = settled.opened, settled.may_retry
                case Sleep():
                    self._clock.sleep(effect.until - self._clock.monotonic())
                case Confirm():
                    assert held is not None
                    state, now = self._store.peek(held[0])
                    effect.refusal = refused_since(state, policy.admission, held[1], now)
                    effect.pause_s = paused_since(state, now) / 1e6
                case Join() | Look() | Spawn() | Substitute():
                    raise AssertionError("no call that keeps nothing comes to this")
            try:
                effect = steps.send(self._clock.monotonic())
            except StopIteration as stop:
                ending: Ending = stop.value
                return ending.why, made, (self._clock.monotonic() - started) * 1000
