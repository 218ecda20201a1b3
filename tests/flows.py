"""A driver of `core.policies.pipeline.flow` that is a list of answers: no client, no store, no provider."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from core.model.answer import Source
from core.model.call_record import Attempt
from core.model.verdict import Verdict
from core.policies.admission import Admission, AdmissionPolicy, Granted, RefusedByCircuit
from core.policies.pipeline import (
    Admit,
    Confirm,
    Effect,
    Ending,
    Enter,
    Join,
    Joined,
    Kept,
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
from core.policies.retry import RetryPolicy

_Item = TypeVar("_Item")
_Kind = TypeVar("_Kind")

POLICY = CallPolicy(timeout_s=5, deadline_s=60, retry=RetryPolicy(), admission=AdmissionPolicy(), cache=None)
START = 100.0
GRANTED = Granted(generation=0)


@dataclass
class Fetched:
    """Another process fetches the same answer for `for_s`; or, with 0, has failed a moment ago."""

    for_s: float = 0.0


@dataclass
class Sent:
    """What an attempt comes to, and how long it takes."""

    verdict: Verdict
    retry_after: float | None = None
    takes_s: float = 0.0
    is_doubtful: bool = False
    may_have_arrived: bool = True
    pause_s: float = 0.0


OK, ILL = Sent(Verdict.OK), Sent(Verdict.UNAVAILABLE)
Turn = Admission | Fetched | None
"""What a question to the store is answered with; None that a fresh answer is kept, if one is."""


class Slept(NamedTuple):
    """One sleep: how long it was to last when it began."""

    lasts: float
    for_turn: bool


@dataclass
class Driver:
    """Carries out effects from lists: each list's last item is given again and again."""

    turns: list[Turn] = field(default_factory=lambda: [GRANTED])
    sends: list[Sent] = field(default_factory=lambda: [OK])
    kept: Kept | None = None
    is_in: bool = True
    joined: Joined = Joined.LEADS
    may_retry: bool = True
    confirmations: list[tuple[RefusedByCircuit | None, float]] = field(default_factory=list)
    opens_at: int = 10**9
    substitute: Source | None = None
    chance: float = 0.5
    now: float = START
    effects: list[Effect] = field(default_factory=list)
    slept: list[Slept] = field(default_factory=list)

    def run(self, plan: Plan) -> Ending:
        """The whole call."""
        steps = flow(plan, self.now, lambda: self.chance)
        try:
            effect = next(steps)
            while True:
                self.effects.append(effect)
                self._carry_out(effect)
                effect = steps.send(self.now)
        except StopIteration as stop:
            ending: Ending = stop.value
            return ending

    def of(self, kind: type[_Kind]) -> list[_Kind]:
        """The effects of one kind, in order."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    @property
    def kinds(self) -> list[str]:
        """The names of the effects, in order."""
        return [type(effect).__name__ for effect in self.effects]

    @property
    def waits(self) -> list[float]:
        """How long each sleep was to last."""
        return [slept.lasts for slept in self.slept]

    def _carry_out(self, effect: Effect) -> None:  # noqa: C901 -- one case an effect.
        match effect:
            case Enter():
                effect.is_in = self.is_in
            case Look():
                effect.kept = self.kept
            case Join():
                effect.outcome = self.joined
            case Admit():
                self._answer(effect)
            case Send():
                self._send(effect)
            case Settle():
                effect.may_retry = self.may_retry
                effect.has_opened = len(self.of(Settle)) >= self.opens_at
            case Sleep():
                self.slept.append(Slept(effect.until - self.now, for_turn=effect.for_turn))
                self.now = effect.until
            case Substitute():
                effect.source = self.substitute
            case Confirm():
                effect.refusal, effect.pause_s = (
                    self.confirmations.pop(0) if self.confirmations else (None, 0.0)
                )
            case Spawn():
                pass

    def _answer(self, admit: Admit) -> None:
        admit.kept = self.kept
        match _next(self.turns):
            case Fetched(for_s):
                admit.elsewhere_s = for_s or None
                admit.has_failed_elsewhere = not for_s
            case turn:
                admit.admission = turn

    def _send(self, send: Send) -> None:
        sent = _next(self.sends)
        self.now += min(sent.takes_s, send.timeout_s)
        send.is_doubtful, send.pause_s = sent.is_doubtful, sent.pause_s
        send.attempt = Attempt(
            f"provider {send.route}",
            send.number,
            0.0,
            sent.takes_s * 1000,
            sent.verdict,
            retry_after=sent.retry_after,
            may_have_arrived=sent.may_have_arrived,
        )


def _next(items: list[_Item]) -> _Item:
    return items.pop(0) if len(items) > 1 else items[0]
