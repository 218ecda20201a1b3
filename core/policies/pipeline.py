"""What to do next in a call: the one rule that every driver carries out.

    Enter ── too many under way ──▶ the kept answer, or Reject
      ▼
    Join ── another call of this process fetches the same ──▶ Share its end
      ▼
    ┌─ Admit(route) ── a fresh answer is kept ──▶ Serve (Spawn a refresh, if it is past its time to live)
    │    │          ── another process fetches the same ──▶ Sleep, and ask again
    │    │          ── refused ──▶ next route ── none left ──▶ FallBack, or Reject when nothing was sent
    │    │ granted (Sleep until its turn)
    │    ▼
    │  Send ─▶ Settle ── well ──▶ Serve, or GiveUp when the provider says "no such thing" or "your request is wrong"
    │    │ ill, throttled
    │    ▼
    └─ Sleep (back off) ── tries, budget or time used up ──▶ next route ── none left ──▶ FallBack, or GiveUp

`flow` is a generator. It yields one effect after the other; the driver (`core.client`) carries each out, writes what
came of it into the effect, and sends the time back in. What the generator returns is how the call ends. It does no
I/O and knows no clock, so that the driver may be synchronous, asynchronous, a simulation or a replay.

Every attempt takes tokens and counts for the breaker. A provider's own back-off is for that provider: the next
route starts afresh. No attempt starts after the deadline, and no route takes the time that the routes after it need
(`core.policies.timeout`). What may have been accepted is only sent again when that does no harm, and to another
provider only when it changes nothing (`core.model.calling.Safety`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from enum import Enum, auto
from typing import NamedTuple

from core.model.answer import Source
from core.model.call_record import Attempt
from core.model.calling import Safety
from core.model.decision import Why
from core.model.verdict import Verdict
from core.policies import retry
from core.policies.admission import Admission, Granted, RefusedByCircuit, RefusedByLimiter, Settlement
from core.policies.policy import CallPolicy
from core.policies.timeout import attempt_timeout, fair_time, is_telling, route_deadline

_DOUBTFUL_RETRIES = 2
_FIRST_LOOK_S = 0.01
_LONGEST_LOOK_S = 0.16


class Plan(NamedTuple):
    """What a call is to the rule. `routes` is how many providers can be asked, first choice first.

    `is_kept` is whether its answers are kept; `has_substitute` whether something else than a kept answer may stand in;
    `refreshes` whether the call was spawned to renew a kept answer.
    """

    policy: CallPolicy
    routes: int
    safety: Safety = Safety.SAFE
    is_kept: bool = False
    has_substitute: bool = False
    refreshes: bool = False


class OutOfTime(NamedTuple):
    """The deadline passed before an attempt could start."""


class TooManyInFlight(NamedTuple):
    """As many calls of the integration are under way in this process as may be."""

    limit: int


Refusal = RefusedByCircuit | RefusedByLimiter | OutOfTime | TooManyInFlight
"""Why a route was not taken."""


class Kept(NamedTuple):
    """What the rule has to know of a kept answer that can be used: its age, and whether it is past its time to live."""

    age_s: float
    is_stale: bool


class Enter:
    """Take one of the places for calls under way. `is_in` is whether there was one."""

    __slots__ = ("is_in",)

    def __init__(self) -> None:
        self.is_in = False


class Look:
    """See whether an answer is kept, without asking for anything."""

    __slots__ = ("kept",)

    def __init__(self) -> None:
        self.kept: Kept | None = None


class Substitute:
    """Ask the integration what may stand in: `source` is `MANUAL` or `DEFAULT`, or None when it has nothing."""

    __slots__ = ("source",)

    def __init__(self) -> None:
        self.source: Source | None = None


class Joined(Enum):
    """What came of joining."""

    LEADS = auto()
    SHARES = auto()
    TOO_LATE = auto()


class Join:
    """Wait up to `patience_s` for the call of this process that fetches the same, if there is one; else lead."""

    __slots__ = ("outcome", "patience_s")

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s
        self.outcome = Joined.LEADS


class Admit:
    """Look for a kept answer and ask the state store whether an attempt may go to this route.

    `kept` is the answer found; `admission` None when it is fresh, or when another process fetches the same: for
    `elsewhere_s` at most, or until it failed a moment ago.
    """

    __slots__ = (
        "admission",
        "elsewhere_s",
        "has_failed_elsewhere",
        "has_waited",
        "kept",
        "patience_s",
        "refreshes",
        "route",
    )

    def __init__(self, route: int, patience_s: float, *, has_waited: bool, refreshes: bool) -> None:
        self.route = route
        self.patience_s = patience_s
        self.has_waited = has_waited
        self.refreshes = refreshes
        self.kept: Kept | None = None
        self.admission: Admission | None = None
        self.elsewhere_s: float | None = None
        self.has_failed_elsewhere = False


class Confirm:
    """After a wait for its turn: see whether what was granted still holds.

    `refusal` is why not; for `pause_s` the provider wants to be left alone yet.
    """

    __slots__ = ("pause_s", "refusal", "route")

    def __init__(self, route: int) -> None:
        self.route = route
        self.refusal: RefusedByCircuit | None = None
        self.pause_s = 0.0


class Sleep:
    """Do nothing until a time, on the driver's monotonic clock. `for_turn` when the rate limit asks for it."""

    __slots__ = ("for_turn", "until")

    def __init__(self, until: float, *, for_turn: bool = False) -> None:
        self.until = until
        self.for_turn = for_turn


class Send:
    """Send attempt number `number` (counted from 1 over all routes), which may take `timeout_s`.

    `attempt` is what it came to. `is_doubtful` marks a refusal that may be a mistake; for `pause_s` the provider wants
    to be left alone by everybody.
    """

    __slots__ = ("attempt", "is_doubtful", "number", "pause_s", "route", "timeout_s")

    attempt: Attempt

    def __init__(self, route: int, number: int, timeout_s: float) -> None:
        self.route = route
        self.number = number
        self.timeout_s = timeout_s
        self.is_doubtful = False
        self.pause_s = 0.0


class Settle:
    """Tell the state store how the attempt ended; at once, or `behind` the caller's back when nothing depends on it.

    `has_opened` and `may_retry` are what the store says; behind, it is not waited for.
    """

    __slots__ = ("behind", "has_opened", "is_slow", "may_retry", "pause_s", "settlement")

    def __init__(self, settlement: Settlement, pause_s: float, *, is_slow: bool, behind: bool) -> None:
        self.settlement = settlement
        self.pause_s = pause_s
        self.is_slow = is_slow
        self.behind = behind
        self.has_opened = False
        self.may_retry = True


class Errand(Enum):
    """What is done behind the caller's back."""

    REFRESH = auto()
    CHECK = auto()


class Spawn:
    """Have this done without waiting for it: renew the kept answer, or check the route's health."""

    __slots__ = ("errand", "route")

    def __init__(self, errand: Errand, route: int) -> None:
        self.errand = errand
        self.route = route


Effect = Enter | Look | Join | Admit | Confirm | Sleep | Send | Settle | Spawn | Substitute
"""Steps after which the call goes on."""


class Serve(NamedTuple):
    """Give the caller the answer: the one kept (`CACHE`, `STALE`), or the one that just came (`LIVE`)."""

    source: Source
    why: Why


class Share(NamedTuple):
    """End as the call ended that fetched the same; in this process, or (`elsewhere`) in another, where it failed."""

    elsewhere: bool = False

    @property
    def why(self) -> Why:
        return Why.SHARED_ELSEWHERE if self.elsewhere else Why.SHARED


class FallBack(NamedTuple):
    """Let `source` stand in; `because` is why the providers gave no answer."""

    source: Source
    because: Attempt | Refusal
    why: Why = Why.STOOD_IN


class GiveUp(NamedTuple):
    """They failed, or refused: raise what the attempt came to."""

    attempt: Attempt
    why: Why


class Reject(NamedTuple):
    """We refused, and nothing was sent: raise why."""

    refusal: Refusal

    @property
    def why(self) -> Why:
        match self.refusal:
            case OutOfTime():
                return Why.DEADLINE
            case TooManyInFlight():
                return Why.TOO_MANY_IN_FLIGHT
            case RefusedByCircuit() | RefusedByLimiter():
                return Why.REFUSED


Ending = Serve | Share | FallBack | GiveUp | Reject
"""How a call ends."""

Flow = Generator[Effect, float, Ending]


def settlement_of(verdict: Verdict, *, is_our_own_cut: bool = False) -> Settlement:
    """What an attempt that came to `verdict` proves about its provider.

    A time-out that our own deadline made too short proves nothing.
    """
    if verdict is Verdict.OK:
        return Settlement.WELL
    if is_our_own_cut:
        return Settlement.NOTHING
    if verdict is Verdict.THROTTLED:
        return Settlement.THROTTLED
    if verdict.is_illness:
        return Settlement.ILL
    return Settlement.WELL if verdict.is_healthy else Settlement.NOTHING


class _SoFar:
    """What has happened so far in one call. Times are seconds of the driver's monotonic clock."""

    __slots__ = (
        "attempts",
        "chance",
        "deadline",
        "fair_s",
        "kept",
        "last",
        "now",
        "plan",
        "refusals",
        "unknown",
        "why",
    )

    def __init__(self, plan: Plan, now: float, chance: Callable[[], float]) -> None:
        self.plan = plan
        self.now = now
        self.chance = chance
        self.deadline = now + plan.policy.deadline_s
        self.fair_s = fair_time(plan.policy.timeout_s, plan.policy.deadline_s, plan.routes)
        self.kept: Kept | None = None
        self.attempts = 0
        self.last: Attempt | None = None
        self.refusals: list[Refusal] = []
        self.why = Why.TRIES_USED_UP
        self.unknown: Attempt | None = None

    def out_of_time(self) -> None:
        """No time is left for an attempt on this route."""
        self.refusals.append(OutOfTime())
        self.why = Why.DEADLINE

    def deadline_of(self, route: int) -> float:
        """When the attempts on `route` have to be over, so that the routes after it have their time."""
        return route_deadline(self.deadline, self.fair_s, self.plan.routes - 1 - route)


def flow(plan: Plan, now: float, chance: Callable[[], float]) -> Flow:
    """The steps of one call, from `now` (monotonic seconds). `chance` is drawn from [0, 1) where waits are spread."""
    so_far = _SoFar(plan, now, chance)
    enter = Enter()
    so_far.now = yield enter
    if not enter.is_in:
        return (yield from _instead(so_far, TooManyInFlight(plan.policy.max_in_flight)))
    if plan.is_kept:
        join = Join(0.0 if plan.refreshes else plan.policy.deadline_s)
        so_far.now = yield join
        if join.outcome is Joined.SHARES:
            return Share()
        if join.outcome is Joined.TOO_LATE:
            return (yield from _instead(so_far, OutOfTime()))
    for route in range(plan.routes):
        ending = yield from _on_route(so_far, route)
        if ending is not None:
            return ending
        if so_far.unknown:
            return GiveUp(so_far.unknown, Why.OUTCOME_UNKNOWN)
    return (yield from _end(so_far))


def _instead(so_far: _SoFar, refusal: Refusal) -> Flow:
    """What a call gets that never came to asking: an answer that is kept, or the refusal."""
    if so_far.plan.is_kept:
        look = Look()
        so_far.now = yield look
        if look.kept:
            return FallBack(Source.STALE, refusal) if look.kept.is_stale else _served(look.kept)
    return Reject(refusal)


def _on_route(so_far: _SoFar, route: int) -> Generator[Effect, float, Ending | None]:
    """The attempts at one provider; None when the next one may be asked."""
    policy, until = so_far.plan.policy, so_far.deadline_of(route)
    tries, wait = 0, 0.0
    while True:
        granted = yield from _admitted(so_far, route, until)
        if not isinstance(granted, Granted):
            return granted
        timeout_s = attempt_timeout(policy.timeout_s, until, so_far.now)
        if timeout_s is None:
            so_far.out_of_time()
            return None
        so_far.attempts += 1
        tries += 1
        send = Send(route, so_far.attempts, timeout_s)
        so_far.now = yield send
        so_far.last = attempt = send.attempt
        settle = _settle(so_far, granted, send)
        if settle:
            so_far.now = yield settle
        if attempt.verdict is Verdict.OK:
            return Serve(Source.LIVE, Why.ANSWERED)
        if attempt.verdict.is_final:
            # What one attempt may have done already, a later refusal does not undo.
            unknown = so_far.unknown
            return GiveUp(unknown, Why.OUTCOME_UNKNOWN) if unknown else GiveUp(attempt, Why.FINAL_VERDICT)
        if why := _why_not_again(so_far, send, settle, tries):
            so_far.why = why
            return None
        wait = retry.delay(policy.retry, tries, so_far.chance(), attempt.retry_after, wait)
        if not is_telling(until - so_far.now - wait, so_far.fair_s):
            # What is left then is too little for an attempt to end well.
            so_far.why = Why.DEADLINE
            return None
        so_far.now = yield Sleep(so_far.now + wait)


def _admitted(so_far: _SoFar, route: int, until: float) -> Generator[Effect, float, Granted | Ending | None]:
    """Be granted a turn, and wait for it; how the call ends if it does; None when this route is not to be had."""
    granted = yield from _turn(so_far, route, until)
    if isinstance(granted, Granted) and granted.wait_us:
        refusal = yield from _waited(so_far, route, until, granted.wait_us)
        if refusal:
            so_far.refusals.append(refusal)
            return None
    return granted


def _waited(
    so_far: _SoFar, route: int, until: float, wait_us: int
) -> Generator[Effect, float, RefusedByCircuit | RefusedByLimiter | None]:
    """Wait for the turn; why it is not taken, if the circuit has opened or a pause begun meanwhile."""
    limits = so_far.plan.policy.admission.limits
    longest_us = limits.max_wait_us if limits else wait_us
    while wait_us:
        so_far.now = yield Sleep(so_far.now + wait_us / 1_000_000, for_turn=True)
        confirm = Confirm(route)
        so_far.now = yield confirm
        if confirm.refusal:
            return confirm.refusal
        wait_us = round(confirm.pause_s * 1_000_000)
        if wait_us > longest_us or so_far.now + confirm.pause_s >= until:
            return RefusedByLimiter(wait_us) if wait_us else None
    return None


def _why_not_again(so_far: _SoFar, send: Send, settle: Settle | None, tries: int) -> Why | None:
    """Why the attempt is not tried again on its route; None when it may be."""
    safety = so_far.plan.safety
    if send.attempt.may_have_arrived and safety is not Safety.SAFE:
        so_far.unknown = send.attempt
        if safety is Safety.UNSAFE:
            return Why.OUTCOME_UNKNOWN
    if settle and settle.has_opened:
        return Why.CIRCUIT_OPENED
    if tries > _retries(so_far.plan.policy, send):
        return Why.TRIES_USED_UP
    return Why.BUDGET_USED_UP if settle and not settle.may_retry else None


def _turn(so_far: _SoFar, route: int, until: float) -> Generator[Effect, float, Granted | Ending | None]:
    """Ask for a turn until it is granted; how the call ends if it does; None when this route is not to be had."""
    has_waited, look_s, refreshes = False, _FIRST_LOOK_S, False
    while True:
        left = until - so_far.now
        if left <= 0:
            so_far.out_of_time()
            return None
        admit = Admit(route, left, has_waited=has_waited, refreshes=refreshes)
        so_far.now = yield admit
        so_far.kept = admit.kept
        admission = admit.admission
        if isinstance(admission, Granted):
            return admission
        if admission is not None:
            so_far.refusals.append(admission)
            if isinstance(admission, RefusedByCircuit) and admission.wants_check:
                so_far.now = yield Spawn(Errand.CHECK, route)
            return None
        if admit.has_failed_elsewhere:
            return Share(elsewhere=True)
        if admit.elsewhere_s is not None:
            # Only as long as its lease: it may have died. Then whoever asks next fetches.
            so_far.now = yield Sleep(so_far.now + min(look_s, admit.elsewhere_s, left))
            has_waited, look_s = True, min(_LONGEST_LOOK_S, look_s * 2)
            refreshes = False
        elif admit.kept is None or (admit.kept.is_stale and so_far.plan.refreshes):
            # What the store calls fresh it holds no longer, or cannot be understood; or it is the old answer, which is
            # what a refresh is to renew. Only one of those who come to this at once is let through.
            refreshes = True
        else:
            if admit.kept.is_stale:
                so_far.now = yield Spawn(Errand.REFRESH, route)
            return _served(admit.kept)


def _served(kept: Kept) -> Serve:
    if kept.is_stale:
        return Serve(Source.STALE, Why.KEPT_WHILE_REFRESHED)
    return Serve(Source.CACHE, Why.KEPT_ANSWER)


def _settle(so_far: _SoFar, granted: Granted, send: Send) -> Settle | None:
    """What the store has to be told of an attempt; None when it went as well as those before it."""
    attempt, policy = send.attempt, so_far.plan.policy
    is_our_own_cut = attempt.verdict is Verdict.TIMED_OUT and not is_telling(send.timeout_s, so_far.fair_s)
    settlement = settlement_of(attempt.verdict, is_our_own_cut=is_our_own_cut)
    is_well = settlement is Settlement.WELL
    if is_well and not granted.owes and not send.pause_s:
        return None
    breaker = policy.admission.breaker
    is_slow = breaker is not None and attempt.duration_ms * 1000 >= breaker.slow_us
    return Settle(settlement, send.pause_s, is_slow=is_slow, behind=is_well and not granted.is_probe)


def _retries(policy: CallPolicy, send: Send) -> int:
    """How often an attempt that came to this may be tried again on its route."""
    if send.attempt.verdict is Verdict.CREDENTIALS_REFUSED:
        return min(_DOUBTFUL_RETRIES, policy.retry.max_retries) if send.is_doubtful else 0
    return policy.retry.max_retries


def _end(so_far: _SoFar) -> Flow:
    """No provider gave an answer: an old answer of theirs stands in, else whatever the integration has."""
    because = so_far.last or _soonest(so_far.refusals)
    if so_far.kept:
        return FallBack(Source.STALE, because)
    if so_far.plan.has_substitute:
        substitute = Substitute()
        so_far.now = yield substitute
        if substitute.source:
            return FallBack(substitute.source, because)
    return GiveUp(because, so_far.why) if isinstance(because, Attempt) else Reject(because)


def _soonest(refusals: list[Refusal]) -> Refusal:
    """The refusal that is over first: it tells the caller when to come back."""
    timed = [refusal for refusal in refusals if isinstance(refusal, RefusedByCircuit | RefusedByLimiter)]
    return min(timed, key=lambda refusal: refusal.retry_after_us) if timed else refusals[-1]
