"""Of the calls that want the same answer at once, one fetches it, and all share its end, also a bad one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pytest

from core.client.call import Call, Route
from core.errors import CallError, DeadlineExceeded, ProviderUnavailable, TooManyInFlight
from core.model.answer import IntegrationResponse, Source
from core.model.decision import Why
from core.model.message import ApiRequest, ApiResponse
from core.policies.admission import Ask
from core.policies.policy import CachePolicy
from core.policies.retry import RetryPolicy
from core.state.base import Release, Wanted
from tests.fakes import FakeClock
from tests.scripted import POLICY, Bench, Outcome, WordProvider, answer, outage
from tests.waiting import until

CALLERS = 50


class GatedTransport:
    """Gives its outcome once the gate is open, and counts who came."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.came = 0
        self.gate = threading.Event()
        self._lock = threading.Lock()

    def send(self, request: ApiRequest, timeout_s: float) -> ApiResponse:
        with self._lock:
            self.came += 1
        assert self.gate.wait(30)
        if isinstance(self.outcome, ApiResponse):
            return self.outcome
        raise self.outcome

    async def asend(self, request: ApiRequest, timeout_s: float) -> ApiResponse:
        raise NotImplementedError


@pytest.fixture
def bench(clock: FakeClock) -> Bench:
    policy = replace(POLICY, retry=RetryPolicy(max_retries=0), max_in_flight=CALLERS)
    return Bench(clock, policy=policy)


def wanted(bench: Bench, transport: GatedTransport) -> Call[str]:
    call = bench.wanted()
    route = Route(WordProvider("alpha"), transport, "words.alpha")
    return call._replace(operation=call.operation._replace(routes=(route,)))


def stampede(
    bench: Bench, transport: GatedTransport, call: Call[str]
) -> list[Future[IntegrationResponse[str]]]:
    """So many threads make the call at once; the gate opens when all of them have come."""
    arrived = threading.Semaphore(0)

    def make() -> IntegrationResponse[str]:
        arrived.release()
        return bench.client.call(call)

    with ThreadPoolExecutor(CALLERS) as pool:
        calls = [pool.submit(make) for _ in range(CALLERS)]
        for _ in range(CALLERS):
            arrived.acquire()
        until(lambda: bench.client.bulkhead.under_way("words") == CALLERS, what="all callers under way")
        transport.gate.set()
    return calls


def test_fifty_callers_of_a_healthy_provider_cost_it_one_call(bench: Bench) -> None:
    transport = GatedTransport(answer("ok:hi"))

    calls = stampede(bench, transport, wanted(bench, transport))

    assert transport.came == 1
    assert {call.result().value for call in calls} == {"hi"}
    assert len(bench.records) == CALLERS


def test_fifty_callers_of_a_failing_provider_cost_it_one_call_and_all_hear_why(bench: Bench) -> None:
    transport = GatedTransport(outage())

    calls = stampede(bench, transport, wanted(bench, transport))

    errors = [call.exception() for call in calls]
    assert transport.came == 1
    assert {type(error) for error in errors} == {ProviderUnavailable}
    assert len({id(error) for error in errors}) == CALLERS
    reasons = [record.decision.why for record in bench.records if record.decision]
    assert reasons.count(Why.SHARED) == CALLERS - 1


def test_a_call_that_leads_and_is_interrupted_leaves_the_lead_to_another(bench: Bench) -> None:
    interrupted = GatedTransport(KeyboardInterrupt())
    healthy = GatedTransport(answer("ok:hi"))
    healthy.gate.set()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(bench.client.call, wanted(bench, interrupted))
        until(lambda: interrupted.came == 1, what="the first call on its way")
        second = pool.submit(bench.client.call, wanted(bench, healthy))
        until(lambda: bench.client.bulkhead.under_way("words") == 2, what="the second call waiting")
        interrupted.gate.set()

        assert second.result(30).value == "hi"
        assert isinstance(first.exception(30), KeyboardInterrupt)
    assert (interrupted.came, healthy.came) == (1, 1)


def test_whoever_shares_an_old_answer_has_it_on_record_as_one_that_stood_in(bench: Bench) -> None:
    bench.providers(alpha=[answer("ok:old")])
    bench.call()
    bench.clock.advance(120)
    transport = GatedTransport(outage())

    calls = stampede(bench, transport, wanted(bench, transport))

    assert {call.result().source for call in calls} == {Source.STALE}
    assert [record.is_success for record in bench.records[1:]] == [False] * CALLERS
    assert {record.error_type for record in bench.records[1:]} == {"ProviderUnavailable"}


def test_different_questions_do_not_wait_for_each_other(bench: Bench) -> None:
    transport = GatedTransport(answer("ok:hi"))
    call = wanted(bench, transport)
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(bench.client.call, call._replace(cache_key=f"words:look_up:{n}")) for n in "ab"]
        until(lambda: transport.came == 2, what="both on their way")
        transport.gate.set()
        assert [each.result(30).value for each in calls] == ["hi", "hi"]


def test_a_call_waits_for_another_no_longer_than_its_deadline(bench: Bench) -> None:
    """Patience is real time here: a hundredth of a second of it."""
    transport = GatedTransport(answer("ok:hi"))
    call = wanted(bench, transport)
    hasty = call._replace(operation=call.operation._replace(policy=replace(bench.policy, deadline_s=0.01)))
    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(bench.client.call, call)
        until(lambda: transport.came == 1, what="the leader on its way")

        with pytest.raises(DeadlineExceeded):
            bench.client.call(hasty)

        transport.gate.set()
        assert leader.result(30).value == "hi"


def test_one_slow_provider_takes_so_many_threads_and_no_more(bench: Bench) -> None:
    bench.policy = replace(bench.policy, max_in_flight=3, cache=None)
    transport = GatedTransport(answer("ok:hi"))
    call = wanted(bench, transport)
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(bench.client.call, call) for _ in range(3)]
        until(lambda: transport.came == 3, what="every place taken")

        with pytest.raises(TooManyInFlight, match="3 at once"):
            bench.client.call(call)

        transport.gate.set()
        assert [each.result(30).value for each in calls] == ["hi"] * 3
    assert bench.client.bulkhead.under_way("words") == 0


@pytest.mark.parametrize(
    "end", [answer("ok:hi"), answer("missing"), outage(), KeyboardInterrupt(), ValueError("a defect")]
)
def test_however_a_call_ends_its_place_and_its_lead_are_given_back(bench: Bench, end: Outcome) -> None:
    bench.providers(alpha=[end])
    if isinstance(end, ApiResponse) and end.body == b"ok:hi":
        bench.call()
    else:
        with pytest.raises((CallError, KeyboardInterrupt, ValueError)):
            bench.call()

    assert bench.client.bulkhead.under_way("words") == 0
    assert not bench.client.flights.is_under_way("words:look_up:hello")


def test_another_process_shares_the_failure_of_the_one_it_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first process fails while the second one waits; the provider is asked once."""
    bench.providers(alpha=[outage()])
    bench.state.open("words.alpha", bench.policy.admission, _ask(), _wanted_by("another"))
    _at_the_first_wait(monkeypatch, bench.clock, lambda: bench.state.later(_failed("another")))

    with pytest.raises(ProviderUnavailable) as shared:
        bench.call()

    assert bench.sent() == 0
    assert shared.value.detail == "HTTP 503"
    assert bench.records[-1].decision is not None
    assert [sight.turn for sight in bench.records[-1].decision.admissions] == [
        "fetched_elsewhere",
        "failed_elsewhere",
    ]


def test_another_process_takes_the_answer_that_it_waited_for_from_the_store(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.providers(alpha=[answer("ok:hi")])
    bench.state.open("words.alpha", bench.policy.admission, _ask(), _wanted_by("another"))
    kept = ("words:look_up:hello", "another", answer("ok:hi"), "alpha", _cache(bench))
    other = bench.another_client()
    _at_the_first_wait(monkeypatch, bench.clock, lambda: other.cache.keep(*kept, ttl_s=60))

    assert bench.call().source is Source.CACHE
    assert bench.sent() == 0


def _at_the_first_wait(patch: pytest.MonkeyPatch, clock: FakeClock, happens: Callable[[], object]) -> None:
    """Have something happen elsewhere just when the call begins to wait."""
    sleep = clock.sleep

    def sleeping(seconds: float) -> None:
        patch.setattr(clock, "sleep", sleep)
        happens()
        sleep(seconds)

    patch.setattr(clock, "sleep", sleeping)


def _ask() -> Ask:
    return Ask(1_000_000)


def _wanted_by(owner: str) -> Wanted:
    return Wanted("words:look_up:hello", owner, 5_000_000)


def _failed(owner: str) -> Release:
    failure = b'["ProviderUnavailable","HTTP 503","alpha",null]'
    return Release("words:look_up:hello", owner, failure, 1_000_000)


def _cache(bench: Bench) -> CachePolicy:
    assert bench.policy.cache is not None
    return bench.policy.cache
