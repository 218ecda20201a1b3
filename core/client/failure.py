"""From a verdict or a refusal to the error that a caller sees; and errors that calls share."""

from __future__ import annotations

from typing import Final, TypeVar

import orjson

from core import errors
from core.client.call import Call
from core.model.call_record import Attempt
from core.model.verdict import Verdict
from core.policies.admission import RefusedByCircuit, RefusedByLimiter
from core.policies.pipeline import OutOfTime, Refusal, TooManyInFlight

_Failed = TypeVar("_Failed", bound=errors.CallFailed)

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
_SHARED: Final[dict[str, type[errors.CallError]]] = {
    kind.__name__: kind
    for kind in (*_FAILURES.values(), errors.CircuitOpen, errors.RateLimited, errors.DeadlineExceeded)
}


def failed(call: Call[object], attempt: Attempt) -> errors.CallFailed:
    """The error for a call that ended with this attempt. Raises `KeyError` for an attempt that went well."""
    return _failed(_FAILURES[attempt.verdict], attempt.detail, call, attempt)


def unknown(call: Call[object], attempt: Attempt) -> errors.OutcomeUnknown:
    """The error for a call of which nobody knows whether the provider has carried it out."""
    detail = f"{attempt.verdict.value.replace('_', ' ')}: {attempt.detail}".removesuffix(": ")
    return _failed(errors.OutcomeUnknown, detail, call, attempt)


def rejected(call: Call[object], refusal: Refusal, attempts: int) -> errors.CallRejected:
    """The error for a call, or a further attempt, that was not sent."""
    kind, detail, wait = _rejection(refusal)
    return kind(
        detail,
        integration=call.operation.integration,
        operation=call.operation.name,
        attempt=attempts,
        trace_id=call.trace_id,
        retry_after=wait,
    )


def shared(call: Call[object], error: errors.CallError) -> errors.CallError:
    """The same error, for another call that has shared its end."""
    return type(error)(
        error.detail,
        integration=error.integration,
        operation=error.operation,
        provider=error.provider,
        attempt=error.attempt,
        trace_id=call.trace_id,
        retry_after=error.retry_after,
    )


def packed(error: errors.CallError) -> bytes | None:
    """What is left behind for the calls of other processes that wait; None for an error that is this call's alone."""
    if type(error).__name__ not in _SHARED:
        return None
    return orjson.dumps([type(error).__name__, error.detail, error.provider, error.retry_after])


def unpacked(call: Call[object], failure: bytes) -> errors.CallError:
    """The error that another process has left behind. One that cannot be understood is an unavailable provider."""
    try:
        name, detail, provider, retry_after = orjson.loads(failure)
        kind = _SHARED[name]
    except (orjson.JSONDecodeError, ValueError, TypeError, KeyError):
        kind, detail, provider, retry_after = errors.ProviderUnavailable, "another process failed", None, None
    return kind(
        str(detail),
        integration=call.operation.integration,
        operation=call.operation.name,
        provider=None if provider is None else str(provider),
        trace_id=call.trace_id,
        retry_after=retry_after if isinstance(retry_after, int | float) else None,
    )


def _failed(kind: type[_Failed], detail: str, call: Call[object], attempt: Attempt) -> _Failed:
    return kind(
        detail,
        integration=call.operation.integration,
        operation=call.operation.name,
        provider=attempt.provider,
        attempt=attempt.number,
        trace_id=call.trace_id,
        retry_after=attempt.retry_after,
    )


def _rejection(refusal: Refusal) -> tuple[type[errors.CallRejected], str, float | None]:
    """The error's kind, its detail, and the seconds after which it is over."""
    match refusal:
        case RefusedByCircuit(retry_after_us, _, forced_by):
            wait = retry_after_us / 1_000_000
            detail = f"free again in {wait:.1f} s"
            return errors.CircuitOpen, f"forced by {forced_by}; {detail}" if forced_by else detail, wait
        case RefusedByLimiter(retry_after_us):
            wait = retry_after_us / 1_000_000
            return errors.RateLimited, f"free again in {wait:.1f} s", wait
        case TooManyInFlight(limit):
            return errors.TooManyInFlight, f"{limit} at once", None
        case OutOfTime():
            return errors.DeadlineExceeded, "", None
