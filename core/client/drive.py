"""The two drivers of a call: one waits in its thread, the other in its event loop.

They differ in how they wait, and in nothing else: what each effect means is written once, in `core.client.run`.
"""

from __future__ import annotations

import asyncio
from typing import TypeVar, assert_never

from core.client import failure
from core.client.call import Route
from core.client.ending import conclude, serve_live
from core.client.run import Run
from core.model.answer import IntegrationResponse
from core.model.call_record import Attempt
from core.model.decision import Why
from core.model.message import ApiRequest, ApiResponse
from core.model.verdict import Verdict
from core.policies.admission import Ask, Granted, RefusedByCircuit, RefusedByLimiter, Settlement
from core.policies.pipeline import (
    Admit,
    Confirm,
    Effect,
    Ending,
    Enter,
    Join,
    Joined,
    Look,
    Send,
    Settle,
    Sleep,
    Spawn,
    Substitute,
    flow,
    settlement_of,
)
from core.state.base import Ended
from core.transports.base import TransportFault

T = TypeVar("T")


def drive(run: Run[T]) -> IntegrationResponse[T]:
    """Take step after step until the call ends, waiting in this thread."""
    if run.call.refusal:
        raise run.call.refusal
    if question := run.straight_question(in_loop=False):
        send = run.straight_request(run.tools.state.open(*question))
        if send:
            _send(run, send)
            if run.went_straight(send):
                return serve_live(run)
    steps = flow(run.plan(), run.started, run.tools.chance)
    effect = next(steps)
    ending: Ending | None = None
    while ending is None:
        _carry_out(run, effect)
        run.now = run.tools.clock.monotonic()
        try:
            effect = steps.send(run.now)
        except StopIteration as stop:
            ending = stop.value
    return conclude(run, ending)


async def adrive(run: Run[T]) -> IntegrationResponse[T]:
    """`drive`, without holding up the event loop."""
    if run.call.refusal:
        raise run.call.refusal
    if question := run.straight_question(in_loop=True):
        send = run.straight_request(await run.tools.state.aopen(*question))
        if send:
            await _asend(run, send)
            if run.went_straight(send):
                return serve_live(run)
    steps = flow(run.plan(), run.started, run.tools.chance)
    effect = next(steps)
    ending: Ending | None = None
    while ending is None:
        await _acarry_out(run, effect)
        run.now = run.tools.clock.monotonic()
        try:
            effect = steps.send(run.now)
        except StopIteration as stop:
            ending = stop.value
    return conclude(run, ending)


def drive_check(run: Run[T], route: Route[T]) -> Attempt:
    """One attempt with the provider's health request, if circuit and limits let it pass without a wait."""
    policy, state = run.operation.policy, run.tools.state
    outcome = state.open(route.circuit, policy.admission, Ask(is_check=True)).outcome
    run.saw(route, outcome)
    if isinstance(outcome, RefusedByCircuit | RefusedByLimiter):
        error = failure.rejected(run.call, outcome, 0)
        run.blame_on(error, Why.REFUSED)
        verdict = Verdict.THROTTLED if isinstance(outcome, RefusedByLimiter) else Verdict.UNAVAILABLE
        return Attempt(route.provider.name, 0, 0.0, 0.0, verdict, detail=error.what)
    if not isinstance(outcome, Granted):
        raise TypeError("A check asks for no answer that others could fetch.")
    send = Send(0, 1, policy.timeout_s)
    _exchange(run, send, route, route.provider.health_request())
    attempt = run.clean(send.attempt)
    settlement = settlement_of(attempt.verdict) if outcome.is_probe else Settlement.NOTHING
    ended = Ended(outcome, settlement, round(send.pause_s * 1e6))
    settled = state.settle(route.circuit, policy.admission, ended)
    run.held = None
    run.settled(settled)
    if attempt.verdict is Verdict.OK:
        run.why = Why.ANSWERED
    else:
        run.blame_on(failure.failed(run.call, attempt), Why.FINAL_VERDICT)
    return attempt


def _carry_out(run: Run[T], effect: Effect) -> None:  # noqa: C901 -- one case an effect.
    match effect:
        case Admit():
            run.opened(effect, run.opening() or run.tools.state.open(*run.question(effect)))
        case Send():
            if not run.has_sent(effect):
                _send(run, effect)
        case Settle():
            if question := run.settlement(effect):
                run.take(effect, run.tools.state.settle(*question))
        case Sleep():
            run.tools.clock.sleep(run.wait_of(effect))
        case Join():
            _join(run, effect)
        case Look():
            run.look(effect, run.tools.cache.get(run.call.cache_key or ""))
        case Confirm():
            run.confirm(effect, run.tools.state.peek(run.circuit_of(effect.route)))
        case Enter() | Spawn() | Substitute():
            run.at_once(effect)
        case _:
            assert_never(effect)


async def _acarry_out(run: Run[T], effect: Effect) -> None:  # noqa: C901 -- one case an effect.
    match effect:
        case Admit():
            run.opened(effect, run.opening() or await run.tools.state.aopen(*run.question(effect)))
        case Send():
            if not run.has_sent(effect):
                await _asend(run, effect)
        case Settle():
            if question := run.settlement(effect):
                run.take(effect, await run.tools.state.asettle(*question))
        case Sleep():
            await run.tools.clock.asleep(run.wait_of(effect))
        case Join():
            await _ajoin(run, effect)
        case Look():
            run.look(effect, await asyncio.to_thread(run.tools.cache.get, run.call.cache_key or ""))
        case Confirm():
            circuit = run.circuit_of(effect.route)
            run.confirm(effect, await asyncio.to_thread(run.tools.state.peek, circuit))
        case Enter() | Spawn() | Substitute():
            run.at_once(effect)
        case _:
            assert_never(effect)


def _send(run: Run[T], send: Send) -> None:
    route = run.operation.routes[send.route]
    _exchange(run, send, route, run.request_to(route))


def _exchange(run: Run[T], send: Send, route: Route[T], request: ApiRequest) -> None:
    started = run.begin_sending(send, route, request)
    try:
        outcome: ApiResponse | TransportFault = route.transport.send(request, send.timeout_s)
    except TransportFault as fault:
        outcome = fault
    run.sent(send, route, outcome, started)


async def _asend(run: Run[T], send: Send) -> None:
    route = run.operation.routes[send.route]
    request = run.request_to(route)
    started = run.begin_sending(send, route, request)
    try:
        outcome: ApiResponse | TransportFault = await route.transport.asend(request, send.timeout_s)
    except TransportFault as fault:
        outcome = fault
    run.sent(send, route, outcome, started)


def _join(run: Run[T], join: Join) -> None:
    until = run.now + join.patience_s
    while flying := run.next_flight(in_loop=False):
        try:
            landed = flying.result(max(0.0, until - run.tools.clock.monotonic()))
        except TimeoutError:
            join.outcome = Joined.TOO_LATE
            return
        if run.shares_end(join, landed):
            return


async def _ajoin(run: Run[T], join: Join) -> None:
    until = run.now + join.patience_s
    while flying := run.next_flight(in_loop=True):
        try:
            async with asyncio.timeout(max(0.0, until - run.tools.clock.monotonic())):
                landed = await asyncio.shield(asyncio.wrap_future(flying))
        except TimeoutError:
            join.outcome = Joined.TOO_LATE
            return
        if run.shares_end(join, landed):
            return
