"""What to do next in a call: the one rule that every driver carries out.

    fresh answer kept? ── yes ──▶ Serve
         │ no
         ▼
    ┌─ Admit(route) ── refused ──▶ next route ── none left ──▶ FallBack, or Reject when nothing was sent
    │    │ granted (Wait for its turn)
    │    ▼
    │  Send ── well ──▶ Serve, or GiveUp when the provider says "no such thing" or "your request is wrong"
    │    │ ill, throttled
    │    ▼
    └─ Wait (back off) ── tries or time used up ──▶ next route ── none left ──▶ FallBack, or GiveUp

`next_step` is pure: it sees what has happened (`Progress`), the time and a drawn chance, and names one step.
The driver (`core.client`) carries it out and notes what came of it, until a step ends the call.

Every attempt takes tokens and counts for the breaker. A provider's own back-off is for that provider: the next
route starts afresh. No attempt starts after the deadline, and no route takes the time that the routes after it need
(`core.policies.timeout`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.model.answer import Source
from core.model.call_record import Attempt
from core.model.verdict import Verdict
from core.policies import retry
from core.policies.admission import Admission, Granted, RefusedByCircuit, RefusedByLimiter
from core.policies.fallback import stand_in
from core.policies.policy import CallPolicy
from core.policies.timeout import attempt_timeout, fair_time, is_telling, route_deadline

_DOUBTFUL_RETRIES = 2


@dataclass(frozen=True, slots=True)
class OutOfTime:
    """The deadline passed before an attempt could start."""


Refusal = RefusedByCircuit | RefusedByLimiter | OutOfTime
"""Why a route was not taken."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What has happened so far in one call.

    `routes` is how many providers can be asked, first choice first, and `route` the one being asked;
    `deadline` is on the driver's monotonic clock, in seconds; `is_fresh` whether a fresh answer is kept;
    `fallbacks` what may stand in if the providers fail. `last` is the newest news of this route, and `waited`
    whether the wait that it asked for is over.
    """

    policy: CallPolicy
    routes: int
    deadline: float
    is_fresh: bool = False
    fallbacks: frozenset[Source] = frozenset()
    route: int = 0
    last: Admission | Attempt | None = None
    is_doubtful: bool = False
    waited: bool = False
    tries: int = 0
    attempts: tuple[Attempt, ...] = ()
    refusals: tuple[Refusal, ...] = ()

    @property
    def fair_time_s(self) -> float:
        """Seconds that an attempt has when nothing went wrong before it."""
        return fair_time(self.policy.timeout_s, self.policy.deadline_s, self.routes)

    def deadline_of(self, route: int) -> float:
        """When the attempts on `route` have to be over, so that the routes after it have their time."""
        return route_deadline(self.deadline, self.fair_time_s, self.routes - 1 - route)

    def after_admission(self, route: int, admission: Admission) -> Progress:
        """The store answered whether an attempt may go to `route`."""
        return replace(
            self,
            route=route,
            last=admission,
            waited=False,
            tries=self.tries if route == self.route else 0,
            refusals=self.refusals if isinstance(admission, Granted) else (*self.refusals, admission),
        )

    def after_attempt(self, attempt: Attempt, *, is_doubtful: bool = False) -> Progress:
        """An attempt ended."""
        return replace(
            self,
            last=attempt,
            is_doubtful=is_doubtful,
            waited=False,
            tries=self.tries + 1,
            attempts=(*self.attempts, attempt),
        )

    def after_wait(self) -> Progress:
        """A wait is over."""
        return replace(self, waited=True)


@dataclass(frozen=True, slots=True)
class Serve:
    """Give the caller the answer: the one kept (`CACHE`), or the one that just came (`LIVE`)."""

    source: Source


@dataclass(frozen=True, slots=True)
class Admit:
    """Ask the state store whether an attempt may go to this route, waiting `max_wait_s` at most."""

    route: int
    max_wait_s: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for so many seconds."""

    seconds: float
    for_turn: bool


@dataclass(frozen=True, slots=True)
class Send:
    """Send attempt number `number` (counted from 1 over all routes), which may take `timeout_s`.

    `is_telling` says whether a time-out would say something about the provider, or only about our own deadline.
    """

    route: int
    number: int
    timeout_s: float
    is_telling: bool


@dataclass(frozen=True, slots=True)
class FallBack:
    """Let `source` stand in; `because` is why the providers gave no answer."""

    source: Source
    because: Attempt | Refusal


@dataclass(frozen=True, slots=True)
class GiveUp:
    """They failed, or refused: raise what the attempt came to."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Reject:
    """We refused, and nothing was sent: raise why."""

    refusal: Refusal


Effect = Admit | Wait | Send
"""Steps after which the call goes on."""

Ending = Serve | FallBack | GiveUp | Reject
"""Steps that end the call."""

Step = Effect | Ending


def next_step(progress: Progress, now: float, chance: float) -> Step:
    """The step that follows from what has happened. `now` is monotonic seconds, `chance` from [0, 1)."""
    match progress.last:
        case None:
            return Serve(Source.CACHE) if progress.is_fresh else _ask(progress, 0, now)
        case Granted() as granted:
            return _go(progress, granted, now)
        case RefusedByCircuit() | RefusedByLimiter():
            return _next_route(progress, now)
        case Attempt() as attempt:
            return _after(progress, attempt, now, chance)


def _ask(progress: Progress, route: int, now: float) -> Step:
    left = progress.deadline_of(route) - now
    return Admit(route, left) if left > 0 else _out_of_time(progress, route, now)


def _go(progress: Progress, granted: Granted, now: float) -> Step:
    if granted.wait_us and not progress.waited:
        return Wait(granted.wait_us / 1_000_000, for_turn=True)
    deadline = progress.deadline_of(progress.route)
    timeout_s = attempt_timeout(progress.policy.timeout_s, deadline, now)
    if timeout_s is None:
        return _out_of_time(progress, progress.route, now)
    telling = is_telling(timeout_s, progress.fair_time_s)
    return Send(progress.route, len(progress.attempts) + 1, timeout_s, telling)


def _out_of_time(progress: Progress, route: int, now: float) -> Step:
    progress = replace(progress, route=route, refusals=(*progress.refusals, OutOfTime()))
    return _next_route(progress, now)


def _after(progress: Progress, attempt: Attempt, now: float, chance: float) -> Step:
    if attempt.verdict is Verdict.OK:
        return Serve(Source.LIVE)
    if attempt.verdict.is_final:
        return GiveUp(attempt)
    if progress.waited:
        return _ask(progress, progress.route, now)
    if progress.tries <= _retries(progress, attempt):
        wait = retry.delay(progress.policy.retry, progress.tries, chance, attempt.retry_after)
        if now + wait < progress.deadline_of(progress.route):
            return Wait(wait, for_turn=False)
    return _next_route(progress, now)


def _retries(progress: Progress, attempt: Attempt) -> int:
    """How often an attempt that came to this may be tried again on its route."""
    if attempt.verdict is Verdict.CREDENTIALS_REFUSED:
        return min(_DOUBTFUL_RETRIES, progress.policy.retry.max_retries) if progress.is_doubtful else 0
    return progress.policy.retry.max_retries


def _next_route(progress: Progress, now: float) -> Step:
    if progress.route + 1 < progress.routes:
        return _ask(progress, progress.route + 1, now)
    return _end(progress)


def _end(progress: Progress) -> Step:
    because = progress.attempts[-1] if progress.attempts else _soonest(progress.refusals)
    if source := stand_in(progress.fallbacks):
        return FallBack(source, because)
    return GiveUp(because) if isinstance(because, Attempt) else Reject(because)


def _soonest(refusals: tuple[Refusal, ...]) -> Refusal:
    """The refusal that is over first: it tells the caller when to come back."""
    timed = [refusal for refusal in refusals if not isinstance(refusal, OutOfTime)]
    return min(timed, key=lambda refusal: refusal.retry_after_us) if timed else refusals[-1]
