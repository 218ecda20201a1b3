"""Whoever goes away in the middle of a call leaves nothing behind, and what he sent is on record."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace

import pytest

from core.client.bulkhead import Bulkhead
from core.client.flights import Flights
from core.errors import CircuitOpen, DeadlineExceeded, ProviderUnavailable, RateLimited
from core.model.calling import CallClass, Safety
from core.model.decision import Why
from core.model.message import ApiRequest, ApiResponse
from core.model.verdict import Verdict
from core.policies.admission import AdmissionPolicy, Ask, Granted, Settlement
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.override import OverrideMode
from core.policies.rate_limit import LimitPolicy
from core.policies.retry import RetryPolicy
from core.state.base import Ended
from tests.fakes import FakeClock
from tests.forked import in_child
from tests.scripted import POLICY, Bench, ScriptedTransport, WordProvider, answer, outage

QUEUED = LimitPolicy(per_minute=10, per_hour=1000, max_wait_us=20_000_000, reserved_percent=0)


@pytest.fixture
def bench(clock: FakeClock) -> Bench:
    return Bench(clock, policy=replace(POLICY, retry=RetryPolicy(max_retries=0)))


def while_waiting(patch: pytest.MonkeyPatch, clock: FakeClock, happens: Callable[[], object]) -> None:
    sleep = clock.sleep

    def sleeping(seconds: float) -> None:
        patch.setattr(clock, "sleep", sleep)
        happens()
        sleep(seconds)

    patch.setattr(clock, "sleep", sleeping)


def test_what_was_sent_before_an_interruption_is_on_record(bench: Bench) -> None:
    bench.safety = Safety.UNSAFE
    bench.providers(alpha=[KeyboardInterrupt()])

    with pytest.raises(KeyboardInterrupt):
        bench.call()

    [record] = bench.records
    [attempt] = record.attempts
    assert (attempt.provider, attempt.verdict, attempt.may_have_arrived) == (
        "alpha",
        Verdict.DISCONNECTED,
        True,
    )
    assert attempt.detail == "we did not wait for the answer"
    assert record.exchange is not None
    assert record.exchange.url == "https://alpha.example/look_up?word=hello"
    assert record.decision is not None
    assert record.decision.why is Why.INTERRUPTED


@pytest.mark.parametrize("where", ["request", "judge", "read"])
def test_a_defect_of_ours_is_called_one_and_gives_everything_back(
    bench: Bench, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.providers(alpha=[answer("ok:hi")])

    def broken(*_: object, **__: object) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(WordProvider, where, broken)
    with pytest.raises(ValueError, match="a defect"):
        bench.call()

    [record] = bench.records
    assert record.decision is not None
    assert (record.decision.why, record.error_type) == (Why.DEFECT, "ValueError")
    assert len(record.attempts) == (0 if where == "request" else 1)
    assert bench.client.bulkhead.under_way("words") == 0
    assert not bench.client.flights.is_under_way("words:look_up:hello")


@pytest.mark.parametrize("end", ["opened", "forced"])
def test_a_call_that_waits_for_its_turn_is_not_sent_when_the_circuit_opens_meanwhile(
    bench: Bench, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaker = BreakerPolicy(failure_threshold=1)
    bench.policy = replace(bench.policy, admission=AdmissionPolicy(breaker=breaker, limits=QUEUED))
    bench.providers(alpha=[answer("ok:hi")])
    bench.call("one")

    def open_it() -> None:
        if end == "forced":
            bench.state.steer("words.alpha", OverrideMode.FORCED_OPEN, seconds=60, by="ops", reason="why")
        else:
            ended = Ended(Granted(0), Settlement.ILL)
            bench.state.settle("words.alpha", bench.policy.admission, ended)

    while_waiting(monkeypatch, bench.clock, open_it)
    with pytest.raises(CircuitOpen):
        bench.call("two")

    assert bench.sent() == 1


def test_a_call_that_waits_for_its_turn_heeds_a_pause_that_begins_meanwhile(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.policy = replace(bench.policy, admission=AdmissionPolicy(limits=QUEUED))
    bench.providers(alpha=[answer("ok:hi")])
    bench.call("one")
    pause = Ended(Granted(0), Settlement.THROTTLED, pause_us=300_000_000)

    while_waiting(
        monkeypatch,
        bench.clock,
        lambda: bench.state.settle("words.alpha", bench.policy.admission, pause),
    )
    with pytest.raises(RateLimited):
        bench.call("two")

    assert bench.sent() == 1


def test_a_coroutine_that_is_closed_gives_back_its_place_its_lead_and_its_probe(bench: Bench) -> None:
    bench.policy = replace(
        bench.policy, admission=AdmissionPolicy(BreakerPolicy(failure_threshold=1), limits=None)
    )
    bench.providers(alpha=[outage()])
    with pytest.raises(ProviderUnavailable):
        bench.call("other")
    bench.clock.advance(61)
    bench.transports["alpha"] = Hanging(bench.clock, [])

    coroutine = bench.client.acall(bench.wanted())
    coroutine.send(None)
    assert bench.state.peek("words.alpha").state.breaker.probes == 1
    coroutine.close()

    assert bench.state.peek("words.alpha").state.breaker.probes == 0
    assert bench.client.bulkhead.under_way("words") == 0
    assert not bench.client.flights.is_under_way("words:look_up:hello")
    assert bench.records[-1].error_type == "GeneratorExit"


class Hanging(ScriptedTransport):
    """Never answers."""

    async def asend(self, request: ApiRequest, timeout_s: float) -> ApiResponse:
        await Suspended()
        raise AssertionError("nobody goes on from here")


class Suspended:
    """An awaitable of which nobody waits for the end."""

    def __await__(self) -> Generator[None, None, None]:
        yield


def test_nobody_waits_for_batch_work(bench: Bench) -> None:
    bench.providers(alpha=[answer("ok:hi")])
    bench.client.flights.join("words:look_up:hello batch", "a batch job")

    assert bench.call().value == "hi"


def test_batch_work_waits_for_batch_work_that_fetches_the_same(bench: Bench) -> None:
    bench.providers(alpha=[answer("ok:hi")])
    bench.client.flights.join("words:look_up:hello batch", "a batch job")
    bench.policy = replace(bench.policy, deadline_s=0.01)

    with pytest.raises(DeadlineExceeded):
        bench.client.call(bench.wanted(call_class=CallClass.BATCH))


def test_only_the_leader_lands_its_flight() -> None:
    flights: Flights[str] = Flights()
    assert flights.join("key", "leader") is None
    waiting = flights.join("key", "another")

    flights.land("key", "another")

    assert waiting is not None
    assert not waiting.done()
    flights.land("key", "leader")
    assert waiting.done()


def test_a_place_is_given_back_once() -> None:
    bulkhead = Bulkhead()
    assert bulkhead.enter("words", "one", 1)
    assert not bulkhead.enter("words", "two", 1)

    bulkhead.leave("words", "two")
    assert bulkhead.under_way("words") == 1
    bulkhead.leave("words", "one")
    bulkhead.leave("words", "one")
    assert bulkhead.enter("words", "two", 1)


def test_the_child_of_a_fork_does_not_wait_for_the_calls_of_its_parent(bench: Bench) -> None:
    bench.providers(alpha=[answer("ok:hi")])
    bench.policy = replace(bench.policy, max_in_flight=1)
    bench.client.flights.join("words:look_up:hello", "the parent")
    bench.client.bulkhead.enter("words", "the parent", 1)

    def call() -> None:
        assert bench.call().value == "hi"

    assert in_child(call)


def test_an_ask_of_the_store_after_an_interruption_is_granted_at_once(bench: Bench) -> None:
    bench.providers(alpha=[KeyboardInterrupt(), answer("ok:hi")])
    with pytest.raises(KeyboardInterrupt):
        bench.call()

    opening = bench.state.open("words.alpha", bench.policy.admission, Ask())

    assert isinstance(opening.outcome, Granted)
    assert bench.call().value == "hi"
