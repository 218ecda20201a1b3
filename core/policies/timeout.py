"""How long one attempt may take, given what the whole call has left."""

from __future__ import annotations


def attempt_timeout(timeout_s: float, deadline: float, now: float) -> float | None:
    """Seconds that an attempt starting `now` may take; None when the deadline leaves it no time at all."""
    left = deadline - now
    return min(timeout_s, left) if left > 0 else None
