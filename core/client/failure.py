"""From a verdict or a refusal to the error that a caller sees."""

from __future__ import annotations

from typing import Final

from core import errors
from core.client.call import Call
from core.model.call_record import Attempt
from core.model.verdict import Verdict
from core.policies.admission import RefusedByCircuit, RefusedByLimiter
from core.policies.pipeline import OutOfTime, Refusal

_FAILURES: Final[dict[Verdict, type[errors.CallFailed]]] = {
    Verdict.NOT_FOUND: errors.NotFound,
    Verdict.REQUEST_REFUSED: errors.RequestRefused,
    Verdict.CREDENTIALS_REFUSED: errors.CredentialsRefused,
    Verdict.THROTTLED: errors.Throttled,
    Verdict.UNAVAILABLE: errors.ProviderUnavailable,
    Verdict.MALFORMED: errors.MalformedAnswer,
    Verdict.TIMED_OUT: errors.AttemptTimedOut,
    Verdict.DISCONNECTED: errors.ConnectionFailed,
}


def failed(call: Call[object], attempt: Attempt) -> errors.CallFailed:
    """The error for a call that ended with this attempt. Raises `KeyError` for an attempt that went well."""
    return _FAILURES[attempt.verdict](
        attempt.detail,
        integration=call.integration,
        operation=call.operation,
        provider=attempt.provider,
        attempt=attempt.number,
        trace_id=call.trace_id,
        retry_after=attempt.retry_after,
    )


def rejected(call: Call[object], refusal: Refusal, attempts: int) -> errors.CallRejected:
    """The error for a call, or a further attempt, that was not sent."""
    kind, wait = _rejection(refusal)
    return kind(
        "" if wait is None else f"free again in {wait:.1f} s",
        integration=call.integration,
        operation=call.operation,
        attempt=attempts,
        trace_id=call.trace_id,
        retry_after=wait,
    )


def _rejection(refusal: Refusal) -> tuple[type[errors.CallRejected], float | None]:
    """The error's kind, and the seconds after which it is over."""
    match refusal:
        case RefusedByCircuit(retry_after_us):
            return errors.CircuitOpen, retry_after_us / 1_000_000
        case RefusedByLimiter(retry_after_us):
            return errors.RateLimited, retry_after_us / 1_000_000
        case OutOfTime():
            return errors.DeadlineExceeded, None
