"""How long to wait before trying again.

    the longest wait before retry n  =  min(max_delay, initial_delay × factor^(n - 1))
    the wait                         =  max(chance × longest wait, Retry-After)

Chance is drawn from the whole span ("full jitter"), so that callers who failed together do not come back
together. A provider's own Retry-After is a floor: it is honoured, never shortened.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently a failed attempt is tried again. Delays are seconds."""

    max_retries: int = 3
    initial_delay_s: float = 0.5
    factor: float = 2.0
    max_delay_s: float = 60.0


def longest_delay(policy: RetryPolicy, retry: int) -> float:
    """The longest wait before retry number `retry`, counted from 1. Never above `max_delay_s`."""
    if retry < 1:
        raise ValueError("Retries are counted from 1.")
    try:
        delay = policy.initial_delay_s * policy.factor ** (retry - 1)
    except OverflowError:
        return policy.max_delay_s
    return min(policy.max_delay_s, delay)


def delay(policy: RetryPolicy, retry: int, chance: float, retry_after: float | None = None) -> float:
    """The wait before retry number `retry`; `chance` is drawn from [0, 1)."""
    return max(chance * longest_delay(policy, retry), retry_after or 0.0)
