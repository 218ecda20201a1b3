"""How much time attempts have, given what the whole call has.

    the fair time of an attempt  =  min(timeout, deadline / number of providers)
    a provider's own deadline    =  the call's deadline, less the fair time for each provider that comes after it

So a provider that hangs never eats the time in which the next one could have answered.
"""

from __future__ import annotations


def fair_time(timeout_s: float, deadline_s: float, routes: int) -> float:
    """Seconds that an attempt has when nothing went wrong before it. `deadline_s` is the length of the call."""
    return min(timeout_s, deadline_s / routes)


def route_deadline(deadline: float, fair_s: float, routes_after: int) -> float:
    """When the attempts at one provider have to be over, `routes_after` providers coming after it."""
    return deadline - fair_s * routes_after


def attempt_timeout(timeout_s: float, deadline: float, now: float) -> float | None:
    """Seconds that an attempt starting `now` may take; None when the deadline leaves it no time at all."""
    left = deadline - now
    return min(timeout_s, left) if left > 0 else None


def is_telling(timeout_s: float, fair_s: float) -> bool:
    """Whether a time-out after `timeout_s` says something about the provider.

    An attempt that had less than half of its fair time was cut short by ourselves.
    """
    return timeout_s >= fair_s / 2
