"""What one attempt came to, judged by the provider's own codes first and the HTTP status second."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What one attempt came to, and so what may follow it."""

    OK = "ok"
    NOT_FOUND = "not_found"
    REQUEST_REFUSED = "request_refused"
    CREDENTIALS_REFUSED = "credentials_refused"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    MALFORMED = "malformed"
    TIMED_OUT = "timed_out"
    DISCONNECTED = "disconnected"

    @property
    def is_illness(self) -> bool:
        """Whether the provider is to blame, so that its circuit breaker counts the attempt as a failure.

        Throttling is flow control and a refused request is the caller's own mistake: neither is illness.
        """
        return self in _ILLNESSES

    @property
    def is_healthy(self) -> bool:
        """Whether the provider did its work, so that its circuit breaker counts the attempt as a success."""
        return self in {Verdict.OK, Verdict.NOT_FOUND, Verdict.REQUEST_REFUSED}

    @property
    def is_final(self) -> bool:
        """Whether asking again, or asking another provider, could not change the answer."""
        return self.is_healthy


_ILLNESSES = frozenset({Verdict.UNAVAILABLE, Verdict.MALFORMED, Verdict.TIMED_OUT, Verdict.DISCONNECTED})


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with its reasons.

    `detail` is the provider's own code and text (no secret, for operators); `retry_after` is in seconds when
    the provider named a time; `is_doubtful` marks a refusal that the provider is known to give by mistake when
    it is overloaded, so that it is worth one more try. `pause_s` is how long, in seconds, the provider wants every
    process to hold back, also after a good answer; None when it did not say. `nothing_accepted` is True when the
    provider says for certain that it has not accepted the request; False means only that it is not certain.
    """

    verdict: Verdict
    detail: str = ""
    retry_after: float | None = None
    is_doubtful: bool = False
    pause_s: float | None = None
    nothing_accepted: bool = False
