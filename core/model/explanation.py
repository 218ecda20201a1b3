"""Why a call ended as it did, in sentences that an operator can read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, assert_never

from core.model.call_record import Attempt
from core.model.decision import AdmissionSight, CacheSight, Decision, Turn, Why
from core.model.health import CircuitState
from core.model.verdict import Verdict

_SECOND_MS: Final = 1_000.0
_MINUTE_MS: Final = 60_000.0
_HOUR_MS: Final = 3_600_000.0
_FEW: Final = 2
"""So many of a larger unit are still told in the smaller one: 90 s, but 2 min."""


def explained(decision: Decision, attempts: Sequence[Attempt]) -> tuple[str, ...]:
    """One sentence a step, in the order of events; the last one says why the call ended."""
    asked = [(sight.at_ms, 0, _admission(sight)) for sight in decision.admissions]
    sent = [(attempt.started_ms, 1, _attempt(attempt)) for attempt in attempts]
    steps = sorted([*asked, *sent], key=lambda step: step[:2])
    return *_cache(decision), *(step[2] for step in steps), f"ended: {_end(decision)}"


def _cache(decision: Decision) -> Iterator[str]:
    age = "" if decision.cache_age_ms is None else f", {_time(decision.cache_age_ms)} old"
    match decision.cache:
        case CacheSight.NOT_LOOKED:
            return
        case CacheSight.NOTHING:
            yield "cache: no answer was kept"
        case CacheSight.FRESH_HERE:
            yield f"cache: a fresh answer was kept in this process{age}"
        case CacheSight.FRESH:
            yield f"cache: a fresh answer was kept{age}"
        case CacheSight.STALE:
            yield f"cache: an old answer was kept{age}"
        case _:
            assert_never(decision.cache)


def _admission(sight: AdmissionSight) -> str:
    match sight.turn:
        case Turn.GRANTED:
            what = _granted(sight)
        case Turn.CIRCUIT_OPEN:
            what = f"refused, {_circuit(sight)}"
        case Turn.LIMIT_REACHED:
            come = f"; a turn would come in {_time(sight.retry_after_ms)}" if sight.retry_after_ms else ""
            what = f"refused, the rate limit is used up{come}{_seen(sight)}"
        case Turn.FETCHED_ELSEWHERE:
            what = "not asked, another process was fetching the same answer"
        case Turn.FAILED_ELSEWHERE:
            what = "not asked, another process had just failed to get the same answer"
        case _:
            assert_never(sight.turn)
    return f"{sight.provider}: {what}"


def _granted(sight: AdmissionSight) -> str:
    role = " as the probe of a half-open circuit" if sight.circuit is CircuitState.HALF_OPEN else ""
    when = f"after waiting {_time(sight.wait_ms)} for its turn" if sight.wait_ms else "at once"
    return f"allowed {when}{role}{_seen(sight)}"


def _circuit(sight: AdmissionSight) -> str:
    if sight.circuit is CircuitState.HALF_OPEN:
        return f"the circuit is half open and waits for a health check{_seen(sight)}"
    left = f" for another {_time(sight.retry_after_ms)}" if sight.retry_after_ms else ""
    if sight.reason is not None:
        return f"the circuit was forced open{left} ({_line(sight.reason)})"
    return f"the circuit is open{left}{_seen(sight)}"


def _seen(sight: AdmissionSight) -> str:
    """The figures that the decision was made on, as far as they were seen and say anything."""
    seen = []
    if sight.failures:
        seen.append("1 failure" if sight.failures == 1 else f"{sight.failures} failures in a row")
    left = [
        f"{count:,} this {window}"
        for count, window in ((sight.minute_left, "minute"), (sight.hour_left, "hour"))
        if count is not None
    ]
    if left:
        seen.append(f"calls left: {', '.join(left)}")
    return f" ({'; '.join(seen)})" if seen else ""


_ANSWERS: Final = {
    Verdict.OK: "",
    Verdict.NOT_FOUND: ": there is no such thing",
    Verdict.REQUEST_REFUSED: ": the request is wrong",
    Verdict.CREDENTIALS_REFUSED: ": our credentials are not accepted",
    Verdict.THROTTLED: ": we are to slow down",
    Verdict.UNAVAILABLE: ": it is unavailable",
    Verdict.MALFORMED: ", in no form that can be understood",
}


def _attempt(attempt: Attempt) -> str:
    took = _time(attempt.duration_ms)
    if attempt.verdict is Verdict.TIMED_OUT:
        what = f"was not answered within {took}{_arrival(attempt)}"
    elif attempt.verdict is Verdict.DISCONNECTED:
        what = f"lost its connection after {took}{_arrival(attempt)}"
    else:
        what = f"was answered after {took}{_ANSWERS[attempt.verdict]}"
    status = None if attempt.status is None else f"HTTP {attempt.status}"
    said = ", ".join(filter(None, (status, _line(attempt.detail))))
    wait = "" if attempt.retry_after is None else f"; come back in {_time(attempt.retry_after * _SECOND_MS)}"
    return f"{attempt.provider}: attempt {attempt.number} {what}{f' ({said})' if said else ''}{wait}"


def _arrival(attempt: Attempt) -> str:
    return ", and may have arrived" if attempt.may_have_arrived else ", and did not arrive"


def _end(decision: Decision) -> str:  # noqa: C901, PLR0911, PLR0912 -- one for each reason.
    match decision.why:
        case Why.ANSWERED:
            return "the provider answered"
        case Why.KEPT_ANSWER:
            return "the kept answer was given"
        case Why.KEPT_WHILE_REFRESHED:
            return "the kept answer was given, while a fresh one was fetched behind it"
        case Why.SHARED:
            return "another call of this process asked the same, and its end was this one's"
        case Why.SHARED_ELSEWHERE:
            return "another process asked the same and failed, and its end was this call's"
        case Why.STOOD_IN:
            return "no provider answered, and what was kept for that case stood in"
        case Why.FINAL_VERDICT:
            return "asking again could not have changed the answer"
        case Why.TRIES_USED_UP:
            return "no try was left"
        case Why.CIRCUIT_OPENED:
            return "the failure opened the circuit"
        case Why.BUDGET_USED_UP:
            return "the retry budget was used up, since too much of the traffic were retries"
        case Why.DEADLINE:
            return f"of the {_time(decision.deadline_ms)} that the call had, too little was left"
        case Why.OUTCOME_UNKNOWN:
            return "the provider may have carried it out, and another try might do it twice"
        case Why.REFUSED:
            return "we refused to send it"
        case Why.TOO_MANY_IN_FLIGHT:
            return "too many calls of this process were under way"
        case Why.NOT_ACCEPTABLE:
            return "it was refused before anything was asked"
        case Why.INTERRUPTED:
            return "the caller was interrupted"
        case Why.DEFECT:
            return "our own code failed"
        case _:
            assert_never(decision.why)


def _line(text: str) -> str:
    """What others wrote, on one line."""
    return " ".join(text.split())


def _time(ms: float) -> str:
    """A time in the unit that says most: 42 ms, 12.3 s, 10 min, 2.5 h."""
    if ms < _SECOND_MS:
        return f"{ms:.0f} ms"
    if ms < _FEW * _MINUTE_MS:
        return f"{ms / _SECOND_MS:.1f} s"
    return f"{ms / _MINUTE_MS:.0f} min" if ms < _FEW * _HOUR_MS else f"{ms / _HOUR_MS:.1f} h"
