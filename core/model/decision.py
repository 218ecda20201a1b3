"""The decision record: what a call saw on its way, what was decided on it, and why it ended as it did.

With the attempts beside it (`core.model.call_record.Attempt`) it answers "why was this refused?", and it holds all that
a replay of the call against another policy needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from core.model.calling import CallClass, Safety
from core.model.health import CircuitState


class CacheSight(StrEnum):
    """What was found in the cache."""

    NOT_LOOKED = "not_looked"
    NOTHING = "nothing"
    FRESH_HERE = "fresh_here"
    """Fresh, in the process's own memory."""
    FRESH = "fresh"
    STALE = "stale"


class Turn(StrEnum):
    """What came of asking whether an attempt may go."""

    GRANTED = "granted"
    CIRCUIT_OPEN = "circuit_open"
    LIMIT_REACHED = "limit_reached"
    FETCHED_ELSEWHERE = "fetched_elsewhere"
    FAILED_ELSEWHERE = "failed_elsewhere"


class Why(StrEnum):
    """Why a call ended as it did."""

    ANSWERED = "answered"
    KEPT_ANSWER = "kept_answer"
    KEPT_WHILE_REFRESHED = "kept_while_refreshed"
    SHARED = "shared"
    """Another call of the process asked the same, and its end was this one's."""
    SHARED_ELSEWHERE = "shared_elsewhere"
    """A call of another process, for which this one waited, has failed."""
    STOOD_IN = "stood_in"
    FINAL_VERDICT = "final_verdict"
    TRIES_USED_UP = "tries_used_up"
    CIRCUIT_OPENED = "circuit_opened"
    BUDGET_USED_UP = "budget_used_up"
    DEADLINE = "deadline"
    OUTCOME_UNKNOWN = "outcome_unknown"
    REFUSED = "refused"
    TOO_MANY_IN_FLIGHT = "too_many_in_flight"
    NOT_ACCEPTABLE = "not_acceptable"
    """Refused before anything was asked: bad input, switched off, no credentials."""
    INTERRUPTED = "interrupted"
    DEFECT = "defect"
    """Our own code failed; the error's name and text stand in the record."""


@dataclass(frozen=True, slots=True)
class AdmissionSight:
    """What one question to the state store saw. Times are milliseconds, `at_ms` from the start of the call.

    `failures` in a row and the tokens left of each window are those before the attempt; None where they were not seen.
    `retry_after_ms` is when a refusal is over; `reason` who forced a circuit open, and why.
    """

    provider: str
    at_ms: float
    turn: Turn
    circuit: CircuitState | None = None
    failures: int | None = None
    minute_left: int | None = None
    hour_left: int | None = None
    wait_ms: float = 0.0
    retry_after_ms: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Everything that was decided about one call. `cache_age_ms` is the age of the kept answer, if one was found.

    `deadline_ms` is the time that the call had in all. The policy is named by a digest of its figures, so that calls
    under one policy can be told from those under another.
    """

    call_class: CallClass
    safety: Safety
    deadline_ms: float
    policy: str
    why: Why
    cache: CacheSight = CacheSight.NOT_LOOKED
    cache_age_ms: float | None = None
    admissions: tuple[AdmissionSight, ...] = ()
