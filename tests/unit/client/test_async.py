"""The asynchronous driver does what the synchronous one does, and gives everything back when it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.client.call import Call, Route
from core.client.run import Run
from core.errors import CallError, ProviderUnavailable
from core.model.answer import IntegrationResponse, Source
from core.model.call_record import CallRecord
from core.model.calling import Safety
from core.model.decision import Why
from core.model.message import ApiRequest, ApiResponse
from core.policies.admission import AdmissionPolicy
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.rate_limit import LimitPolicy
from core.policies.retry import RetryPolicy
from tests.fakes import FakeClock
from tests.scripted import POLICY, Bench, Outcome, WordProvider, answer, cut_off, outage


@pytest.fixture
def bench(clock: FakeClock) -> Bench:
    return Bench(clock, policy=replace(POLICY, retry=RetryPolicy(max_retries=0)))


class SlowTransport:
    """Gives its outcome when it is told to."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.came = asyncio.Semaphore(0)
        self.count = 0
        self.gate = asyncio.Event()

    async def asend(self, request: ApiRequest, timeout_s: float) -> ApiResponse:
        self.count += 1
        self.came.release()
        await self.gate.wait()
        if isinstance(self.outcome, ApiResponse):
            return self.outcome
        raise self.outcome

    def send(self, request: ApiRequest, timeout_s: float) -> ApiResponse:
        raise NotImplementedError


def through(bench: Bench, transport: SlowTransport) -> Call[str]:
    call = bench.wanted()
    route = Route(WordProvider("alpha"), transport, "words.alpha")
    return call._replace(operation=call.operation._replace(routes=(route,)))


def outcomes() -> st.SearchStrategy[list[Outcome]]:
    words = ("ok:hi", "missing", "wrong", "key", "doubt", "slow-down:2", "not-now", "gibberish")
    return st.lists(
        st.one_of(st.sampled_from(words).map(answer), st.builds(outage), st.builds(cut_off)),
        min_size=1,
        max_size=6,
    )


@given(alpha=outcomes(), beta=outcomes(), safety=st.sampled_from(Safety), calls=st.integers(1, 4))
def test_both_drivers_come_to_the_same_end_by_the_same_way(
    alpha: list[Outcome], beta: list[Outcome], safety: Safety, calls: int
) -> None:
    """And so does a call that is never taken straight: the rule alone decides, from its first step on."""
    sync, other, slow = (
        Bench(FakeClock(), safety=safety).providers(alpha=[*alpha], beta=[*beta]) for _ in range(3)
    )

    for _ in range(calls):
        end = _end(sync.call)
        assert end == _end(lambda: asyncio.run(_acall(other)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Run, "straight_question", lambda _, in_loop: None)
            assert end == _end(slow.call)

    told = [_told(record) for record in sync.records]
    assert told == [_told(record) for record in other.records] == [_told(record) for record in slow.records]
    assert sync.clock.slept == other.clock.slept == slow.clock.slept


async def _acall(bench: Bench) -> IntegrationResponse[str]:
    return await bench.client.acall(bench.wanted())


def _end(call: Callable[[], IntegrationResponse[str]]) -> object:
    try:
        return call()
    except CallError as error:
        return type(error), str(error), error.retry_after


def _told(record: CallRecord) -> CallRecord:
    return replace(record, id=0, idempotency_key=None, exchange=None)


def test_fifty_tasks_that_want_the_same_cost_one_call(bench: Bench) -> None:
    async def stampede() -> tuple[int, set[str]]:
        transport = SlowTransport(answer("ok:hi"))
        call = through(bench, transport)
        tasks = [asyncio.create_task(bench.client.acall(call)) for _ in range(50)]
        await transport.came.acquire()
        transport.gate.set()
        answers = await asyncio.gather(*tasks)
        return transport.count, {each.value for each in answers}

    assert asyncio.run(stampede()) == (1, {"hi"})


def test_fifty_tasks_share_a_failure(bench: Bench) -> None:
    async def stampede() -> tuple[int, set[type]]:
        transport = SlowTransport(outage())
        call = through(bench, transport)
        tasks = [asyncio.create_task(bench.client.acall(call)) for _ in range(50)]
        await transport.came.acquire()
        transport.gate.set()
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        return transport.count, {type(error) for error in errors}

    assert asyncio.run(stampede()) == (1, {ProviderUnavailable})


def test_a_cancelled_task_gives_back_its_place_its_lead_and_its_probe(bench: Bench) -> None:
    breaker = BreakerPolicy(failure_threshold=1)
    bench.policy = replace(bench.policy, admission=AdmissionPolicy(breaker, limits=None))
    bench.providers(alpha=[outage()])
    with pytest.raises(ProviderUnavailable):
        bench.call("other")
    bench.clock.advance(61)

    async def cancelled() -> None:
        transport = SlowTransport(answer("ok:hi"))
        task = asyncio.create_task(bench.client.acall(through(bench, transport)))
        await transport.came.acquire()
        assert bench.state.peek("words.alpha").state.breaker.probes == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())

    assert bench.state.peek("words.alpha").state.breaker.probes == 0
    assert bench.client.bulkhead.under_way("words") == 0
    assert not bench.client.flights.is_under_way("words:look_up:hello")
    record = bench.records[-1]
    assert (record.error_type, record.decision and record.decision.why) == (
        "CancelledError",
        Why.INTERRUPTED,
    )


def test_a_waiting_task_that_is_cancelled_disturbs_neither_its_leader_nor_the_others(bench: Bench) -> None:
    async def run() -> list[str]:
        transport = SlowTransport(answer("ok:hi"))
        call = through(bench, transport)
        leader = asyncio.create_task(bench.client.acall(call))
        await transport.came.acquire()
        waiting, patient = (asyncio.create_task(bench.client.acall(call)) for _ in range(2))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        transport.gate.set()
        return [(await each).value for each in (leader, patient)]

    assert asyncio.run(run()) == ["hi", "hi"]


def test_a_leader_that_is_cancelled_leaves_the_lead_to_one_that_waits(bench: Bench) -> None:
    async def run() -> str:
        hanging, healthy = SlowTransport(answer("ok:never")), SlowTransport(answer("ok:hi"))
        healthy.gate.set()
        leader = asyncio.create_task(bench.client.acall(through(bench, hanging)))
        await hanging.came.acquire()
        waiting = asyncio.create_task(bench.client.acall(through(bench, healthy)))
        await asyncio.sleep(0)
        leader.cancel()
        return (await waiting).value

    assert asyncio.run(run()) == "hi"


def test_a_task_shares_the_end_of_a_thread_that_fetches_the_same(bench: Bench) -> None:
    bench.providers(alpha=[answer("ok:hi")])
    call = bench.wanted()
    assert bench.client.flights.join("words:look_up:hello", "a thread") is None

    async def run() -> IntegrationResponse[str]:
        waiting = asyncio.create_task(bench.client.acall(call))
        await asyncio.sleep(0)
        with ThreadPoolExecutor(1) as pool:
            shared = IntegrationResponse("from a thread", Source.LIVE, "alpha", "1" * 32)
            landed = (shared, None)
            pool.submit(_land, bench, landed).result()
        return await waiting

    answered = asyncio.run(run())
    assert (answered.value, answered.trace_id) == ("from a thread", "0" * 32)
    assert bench.sent() == 0


def _land(bench: Bench, landed: tuple[IntegrationResponse[str] | None, CallError | None]) -> None:
    bench.client.flights.land("words:look_up:hello", "a thread", *landed)


def test_a_synchronous_call_in_an_event_loop_does_not_wait_for_a_task_of_the_same_loop(bench: Bench) -> None:
    """It would hold up the loop that the task needs, until its deadline."""

    async def run() -> tuple[str, str]:
        hanging = SlowTransport(answer("ok:from the task"))
        task = asyncio.create_task(bench.client.acall(through(bench, hanging)))
        await hanging.came.acquire()
        bench.policy = replace(bench.policy, deadline_s=1)
        bench.providers(alpha=[answer("ok:from the call")])
        with pytest.raises(CallError):
            bench.call()
        hanging.gate.set()
        return (await task).value, bench.call().value

    assert asyncio.run(run()) == ("from the task", "from the task")


def test_the_loop_goes_on_while_a_call_waits_for_its_turn(bench: Bench) -> None:
    limits = LimitPolicy(1, 1000, 300_000_000, reserved_percent=0)
    bench.policy = replace(bench.policy, deadline_s=200, admission=AdmissionPolicy(limits=limits))
    bench.providers(alpha=[answer("ok:hi")])
    went_on: list[str] = []

    async def other() -> None:
        went_on.append("other")

    async def run() -> None:
        await bench.client.acall(bench.wanted("one"))
        task = asyncio.create_task(other())
        await bench.client.acall(bench.wanted("two"))
        assert went_on == ["other"]
        await task

    asyncio.run(run())
    assert bench.clock.slept == [pytest.approx(60, abs=0.1)]
