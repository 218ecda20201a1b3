"""How long to wait before trying again.

    the longest wait before retry n  =  min(max_delay, initial_delay × factor^(n - 1))

    full          chance × longest                              callers who failed together come back spread out
    equal         longest / 2 + chance × longest / 2            never sooner than half of it
    decorrelated  initial + chance × (last wait × 3 - initial)  each wait grows from the last one, not from n
    none          longest

The first decorrelated wait grows from the initial one (source: "Exponential Backoff And Jitter", AWS Architecture Blog).

A provider's own Retry-After is a floor: it is honoured, never shortened; but one of more than an hour is taken for
an hour (source: RFC 9110 sets no bound, and some providers name a day).
"""

from __future__ import annotations

from dataclasses import dataclass

from core.model.calling import Jitter

LONGEST_RETRY_AFTER_S = 3600.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently a failed attempt is tried again. Delays are seconds."""

    max_retries: int = 3
    initial_delay_s: float = 0.5
    factor: float = 2.0
    max_delay_s: float = 60.0
    jitter: Jitter = Jitter.FULL


def longest_delay(policy: RetryPolicy, retry: int) -> float:
    """The longest wait before retry number `retry`, counted from 1. Never above `max_delay_s`."""
    if retry < 1:
        raise ValueError("Retries are counted from 1.")
    try:
        delay = policy.initial_delay_s * policy.factor ** (retry - 1)
    except OverflowError:
        return policy.max_delay_s
    return min(policy.max_delay_s, delay)


def delay(
    policy: RetryPolicy, retry: int, chance: float, retry_after: float | None = None, last: float = 0.0
) -> float:
    """The wait before retry number `retry`; `chance` is drawn from [0, 1), `last` is the wait before the retry before, 0 if none."""
    return max(_drawn(policy, retry, chance, last), min(retry_after or 0.0, LONGEST_RETRY_AFTER_S))


def _drawn(policy: RetryPolicy, retry: int, chance: float, last: float) -> float:
    longest = longest_delay(policy, retry)
    match policy.jitter:
        case Jitter.FULL:
            return chance * longest
        case Jitter.EQUAL:
            return (1 + chance) * longest / 2
        case Jitter.DECORRELATED:
            initial = min(policy.initial_delay_s, policy.max_delay_s)
            return min(policy.max_delay_s, initial + chance * max(0.0, (last or initial) * 3 - initial))
        case Jitter.NONE:
            return longest
