"""The record that every call leaves, however it ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Protocol

from core.model.answer import Source
from core.model.decision import Decision
from core.model.health import CircuitState
from core.model.message import Pairs
from core.model.verdict import Verdict

HEALTH_CHECK: Final = "health_check"
"""The operation of a check. It is on record like any call, and counts as none: nobody asked for its answer."""

SEQUENCE_BITS = 22
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def record_id(at: datetime, sequence: int) -> int:
    """A 63-bit, time-ordered id: milliseconds since 1970 in the high bits, `sequence` in the low 22.

    It is row id, partition key and idempotency key of a call-log row at once. `sequence` is taken modulo 2²².
    """
    milliseconds = (at - EPOCH) // timedelta(milliseconds=1)
    return (milliseconds << SEQUENCE_BITS) | (sequence % (1 << SEQUENCE_BITS))


def first_id_at(at: datetime) -> int:
    """The smallest id that a record of `at` or later can have: a range of time is a range of ids."""
    return record_id(at, 0)


class Attempt(NamedTuple):
    """One request that was sent. `started_ms` counts from the start of the call; times are milliseconds.

    `may_have_arrived` is False only when it is certain that the provider has accepted nothing. `is_doubtful` marks a
    refusal that may be a mistake, and for `pause_s` seconds the provider wanted to be left alone by everybody.
    """

    provider: str
    number: int
    started_ms: float
    duration_ms: float
    verdict: Verdict
    status: int | None = None
    detail: str = ""
    retry_after: float | None = None
    may_have_arrived: bool = True
    is_doubtful: bool = False
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """The last request and answer of a call, already redacted. Bodies are text, cut at their cap."""

    method: str
    url: str
    request_headers: Pairs
    request_body: str | None
    response_status: int | None = None
    response_headers: Pairs = ()
    response_body: str | None = None


class EndedCall(Protocol):
    """A call that has ended, and from which its record can be made: off the caller's way, in another thread."""

    @property
    def held_bytes(self) -> int:
        """How much memory its request and answer hold, about."""

    def record(self) -> CallRecord:
        """The record, redacted. It is made anew each time it is asked for."""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """Everything that is kept of one call. It is redacted before it is made, so no table ever holds a secret.

    `is_success` says whether the third party did its part: it is False for an error that is not the caller's own
    mistake, and also when an old answer had to stand in. `source` is None when no answer was given; `error_type` is the class name of the error raised then, or of
    the error that a stale answer stands in for. `limiter_wait_ms` is the time spent waiting for a token,
    `circuit_opened` whether an attempt of this call opened a circuit, `idempotency_key` what every attempt bore so that
    the provider acts once.
    """

    id: int
    created_at: datetime
    integration: str
    integration_type: str
    operation: str
    provider: str | None
    exchange: Exchange | None
    duration_ms: float
    is_success: bool
    source: Source | None
    error_type: str | None
    error_message: str | None
    trace_id: str
    user_id: str | None
    attempts: tuple[Attempt, ...]
    circuit_state: CircuitState
    circuit_opened: bool
    limiter_wait_ms: float
    is_rate_limited: bool
    is_mock: bool
    idempotency_key: str | None = None
    decision: Decision | None = None

    @property
    def retry_count(self) -> int:
        """Attempts beyond the first."""
        return max(0, len(self.attempts) - 1)

    @property
    def is_from_cache(self) -> bool:
        return self.source in {Source.CACHE, Source.STALE}
