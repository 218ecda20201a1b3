"""Simulated schedules: several processes, one store, one ill provider, on a clock that nobody waits for.

Each schedule is drawn from its seed: policy, arrivals, illness, crashes. Calls are real flows on a real store; what is
simulated is time, the provider and the order in which things happen. Whatever is drawn, the promises hold that
`Schedule.check` names.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

from core.model.call_record import Attempt
from core.model.calling import CallClass, Jitter, LimitMode
from core.model.verdict import Verdict
from core.policies.admission import AdmissionPolicy, Ask, Granted
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.confirmation import paused_since, refused_since
from core.policies.pipeline import (
    Admit,
    Confirm,
    Effect,
    Ending,
    Enter,
    Flow,
    Join,
    Joined,
    Kept,
    Look,
    Plan,
    Send,
    Serve,
    Settle,
    Share,
    Sleep,
    Spawn,
    Substitute,
    flow,
)
from core.policies.policy import CachePolicy, CallPolicy
from core.policies.rate_limit import LimitPolicy
from core.policies.retry import RetryPolicy
from core.policies.retry_budget import RetryBudget
from core.state.base import Ended, FailedElsewhere, FetchedElsewhere, Keep, Release, StateStore, Wanted
from core.state.memory import MemoryState
from tests.fakes import FakeClock

CIRCUIT = "words.alpha"
_SECOND = 1_000_000


@dataclass
class _Call:
    """One call of one process, and how far it is."""

    number: int
    process: int
    arrives: float
    call_class: CallClass
    key: str | None
    steps: Flow
    granted: Granted | None = None
    has_lease: bool = False
    leads: bool = False
    has_begun: bool = False
    ending: Ending | None = None
    deadline: float = 0.0
    lease_until: float = 0.0


@dataclass
class Schedule:
    """One schedule, drawn from `seed`."""

    seed: int
    sent: list[float] = field(default_factory=list)
    turns: dict[bool, list[tuple[float, float]]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.clock = FakeClock()
        self.store: StateStore = MemoryState(self.clock)
        self.start = self.clock.monotonic()
        self.policy = self._policy()
        self.processes = self.random.randint(1, 4)
        self.is_down_all_the_time = self.random.random() < 0.3
        self.ill_until = self.start + self.random.choice((0.0, 3.0, 20.0, 100.0))
        self.crash_chance = self.random.choice((0.0, 0.0, 0.1))
        self.has_crashed = False
        self.open_until = 0.0
        self.probes = 0
        self.fetching: dict[str, list[_Call]] = {}
        self.queue: list[tuple[float, int, _Call]] = []
        self.order = 0
        self.flying: dict[tuple[int, str], list[_Call]] = {}

    def run(self) -> Schedule:
        """Play the schedule to its end and note every broken promise in `faults`."""
        calls = [self._call(number) for number in range(self.random.randint(2, 14))]
        for call in calls:
            self._at(call.arrives, call)
        while self.queue:
            at, _, call = heapq.heappop(self.queue)
            self.clock.advance(max(0.0, at - self.clock.monotonic()))
            self._continue(call)
        self._check_windows()
        self._check_turns()
        self._check_amplification(len(calls))
        for call in calls:
            if call.ending is None and not self.has_crashed:
                self.faults.append(f"call {call.number} never ended")
        return self

    def _policy(self) -> CallPolicy:
        draw = self.random
        timeout_s = draw.choice((0.5, 2.0))
        return CallPolicy(
            timeout_s=timeout_s,
            deadline_s=draw.choice((1.0, 5.0, 30.0)),
            retry=RetryPolicy(
                draw.randint(0, 4), draw.choice((0.0, 0.1, 1.0)), jitter=draw.choice(tuple(Jitter))
            ),
            admission=AdmissionPolicy(
                BreakerPolicy(draw.randint(1, 5), 10 * _SECOND, int((timeout_s + 1) * _SECOND))
                if draw.random() < 0.8
                else None,
                LimitPolicy(
                    draw.choice((3, 12, 60)),
                    draw.choice((10, 1000)),
                    draw.choice((0, 2, 10)) * _SECOND,
                    draw.choice((LimitMode.ANY_WINDOW, LimitMode.EXACT)),
                ),
                RetryBudget(),
            ),
            cache=CachePolicy(5.0, 60.0),
        )

    def _call(self, number: int) -> _Call:
        draw = self.random
        arrives = self.start + draw.choice((0.0, draw.random(), draw.random() * 30))
        key = f"words:look_up:{draw.randint(0, 2)}" if draw.random() < 0.5 else None
        plan = Plan(self.policy, 1, is_kept=key is not None)
        call_class = draw.choice(tuple(CallClass))
        call = _Call(
            number, draw.randrange(self.processes), arrives, call_class, key, flow(plan, arrives, draw.random)
        )
        call.deadline = arrives + self.policy.deadline_s
        return call

    def _at(self, at: float, call: _Call) -> None:
        self.order += 1
        heapq.heappush(self.queue, (at, self.order, call))

    def _continue(self, call: _Call) -> None:
        """Carry out effects of a call until one of them takes time, or the call ends."""
        try:
            effect = call.steps.send(self.clock.monotonic()) if call.has_begun else next(call.steps)
            call.has_begun = True
            while not self._takes_time(call, effect):
                effect = call.steps.send(self.clock.monotonic())
        except StopIteration as stop:
            self._end(call, stop.value)

    def _takes_time(self, call: _Call, effect: Effect) -> bool:
        """Carry out one effect. True when the call goes on later, or (its process has died) never."""
        now = self.clock.monotonic()
        match effect:
            case Join():
                return self._join(call, effect)
            case Admit():
                self._admit(call, effect)
            case Sleep():
                self._at(effect.until, call)
                return True
            case Send():
                return self._send(call, effect, now)
            case Settle():
                self._settle(call, effect)
            case Enter():
                effect.is_in = True
            case Confirm():
                self._confirm(call, effect)
            case Look() | Spawn() | Substitute():
                raise AssertionError("no schedule comes to this")
        return False

    def _join(self, call: _Call, join: Join) -> bool:
        assert call.key is not None
        waiting = self.flying.get((call.process, call.key))
        if waiting is None:
            self.flying[call.process, call.key] = []
            call.leads = True
            return False
        join.outcome = Joined.SHARES
        waiting.append(call)
        return True

    def _admit(self, call: _Call, admit: Admit) -> None:
        wanted = None
        if call.key:
            lease_us = int((self.policy.timeout_s + 1) * _SECOND)
            wanted = Wanted(call.key, str(call.number), lease_us, admit.has_waited, admit.refreshes)
        ask = Ask(int(admit.patience_s * _SECOND), call.call_class)
        kept, outcome = self.store.open(CIRCUIT, self.policy.admission, ask, wanted)
        admit.kept = Kept(1.0, is_stale=outcome is not None) if kept else None
        match outcome:
            case None:
                pass
            case FetchedElsewhere(left_us):
                admit.elsewhere_s = left_us / _SECOND
            case FailedElsewhere():
                admit.has_failed_elsewhere = True
            case Granted():
                self._granted(call, outcome)
                admit.admission = outcome
            case _:
                admit.admission = outcome

    def _granted(self, call: _Call, granted: Granted) -> None:
        now = self.clock.monotonic()
        call.granted, call.has_lease = granted, call.key is not None
        self.turns.setdefault(granted.is_reserved, []).append((now, now + granted.wait_us / _SECOND))
        if now < self.open_until and not granted.is_probe:
            self.faults.append(f"call {call.number} was let through an open circuit")
        if granted.is_probe:
            self.probes += 1
            if self.probes > 1 and not self.has_crashed:
                self.faults.append(f"call {call.number} is a second probe")
        if call.key:
            others = [
                other
                for other in self.fetching.get(call.key, ())
                if other is not call and now < other.lease_until - 1e-5
            ]
            call.lease_until = now + granted.wait_us / _SECOND + self.policy.timeout_s + 1
            if others and not self.has_crashed:
                self.faults.append(f"calls {others[0].number} and {call.number} fetch the same at once")
            self.fetching.setdefault(call.key, []).append(call)

    def _confirm(self, call: _Call, confirm: Confirm) -> None:
        assert call.granted is not None
        state, now = self.store.peek(CIRCUIT)
        confirm.refusal = refused_since(state, self.policy.admission, call.granted, now)
        confirm.pause_s = paused_since(state, now) / _SECOND

    def _send(self, call: _Call, send: Send, now: float) -> bool:
        self.sent.append(now)
        if call.granted and not call.granted.is_probe and now < self.open_until:
            self.faults.append(f"call {call.number} was sent while the circuit was open")
        if now >= call.deadline or now + send.timeout_s > call.deadline + 1e-6:
            self.faults.append(f"call {call.number} began an attempt that outlasts its deadline")
        if self.random.random() < self.crash_chance:
            self.has_crashed = True
            return True
        is_ill = self.is_down_all_the_time or now < self.ill_until
        takes = self.random.random() * self.policy.timeout_s * (1.2 if is_ill else 0.5)
        verdict = Verdict.OK if not is_ill else Verdict.UNAVAILABLE
        if takes >= send.timeout_s:
            takes, verdict = send.timeout_s, Verdict.TIMED_OUT
        elif not is_ill and self.random.random() < 0.1:
            verdict = Verdict.THROTTLED
        send.attempt = Attempt("alpha", send.number, 0.0, takes * 1000, verdict)
        self._at(now + takes, call)
        return True

    def _settle(self, call: _Call, settle: Settle) -> None:
        assert call.granted is not None
        granted, call.granted = call.granted, None
        ended = Ended(granted, settle.settlement, round(settle.pause_s * _SECOND), settle.is_slow)
        settled = self.store.settle(CIRCUIT, self.policy.admission, ended)
        settle.has_opened, settle.may_retry = settled.opened, settled.may_retry
        self.probes -= granted.is_probe
        breaker = self.policy.admission.breaker
        if settled.opened and breaker:
            self.open_until = self.clock.monotonic() + breaker.recovery_us / _SECOND
        if settled.closed:
            self.open_until = 0.0

    def _end(self, call: _Call, ending: Ending) -> None:
        call.ending = ending
        if self.clock.monotonic() > call.deadline + 1e-6 and not isinstance(ending, Share):
            self.faults.append(f"call {call.number} ended after its deadline")
        if call.granted is not None and call.granted.is_probe:
            self.probes -= 1
        if call.key is None:
            return
        if call.has_lease:
            self.fetching[call.key] = [other for other in self.fetching[call.key] if other is not call]
            well = isinstance(ending, Serve)
            owner = str(call.number)
            self.store.later(
                Keep(call.key, owner, lambda: b"kept", 4, 5.0, 65.0) if well else Release(call.key, owner)
            )
        if call.leads:
            for waiting in self.flying.pop((call.process, call.key)):
                self._at(self.clock.monotonic(), waiting)

    def _check_windows(self) -> None:
        """C5: never more than the limit in any window, however the turns fell."""
        limits = self.policy.admission.limits
        assert limits is not None
        for limit, window in ((limits.per_minute, 60.0), (limits.per_hour, 3600.0)):
            for first, last in zip(self.sent, self.sent[limit:], strict=False):
                if last - first < window - 1e-5:
                    self.faults.append(f"more than {limit} attempts within {last - first:.3f} s")

    def _check_turns(self) -> None:
        """C6: first come, first served, within each share of the limit."""
        for turns in self.turns.values():
            for (_, earlier), (_, later) in pairwise(turns):
                if later < earlier - 1e-6:
                    self.faults.append("a later call had the earlier turn")

    def _check_amplification(self, calls: int) -> None:
        """C8: an outage costs a tenth more traffic at the most, and the few retries that the budget holds."""
        if self.is_down_all_the_time and len(self.sent) > 1.1 * calls + 5:
            self.faults.append(f"{len(self.sent)} attempts for {calls} calls")


def schedules(first: int, count: int) -> Iterator[Schedule]:
    """So many schedules, played."""
    return (Schedule(seed).run() for seed in range(first, first + count))
