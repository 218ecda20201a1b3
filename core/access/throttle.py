"""How long to wait after failed sign-ins: a pure rule.

The first failures are free. Each further one doubles the wait, from 30 seconds up to 15 minutes; so nobody can
be locked out for good, and nobody can try more than ten passwords of one account in any 15 minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

MEMORY: Final = timedelta(hours=24)
"""Failures older than this no longer count."""


@dataclass(frozen=True, slots=True)
class Throttle:
    """How many failures are free, and the waits that follow."""

    free: int
    first_wait: timedelta = timedelta(seconds=30)
    longest_wait: timedelta = timedelta(minutes=15)

    def wait_after(self, failures: int) -> timedelta:
        """The wait that follows the last of so many failures."""
        if failures < self.free:
            return timedelta(0)
        doublings = min(failures - self.free, 16)  # beyond this the longest wait rules anyway
        return min(self.first_wait * (1 << doublings), self.longest_wait)

    def wait_left(self, failures: Sequence[datetime], now: datetime) -> timedelta:
        """What is left of the wait. `failures` are oldest first; a clock set back never lengthens the wait."""
        if not failures:
            return timedelta(0)
        wait = self.wait_after(len(failures))
        passed = max(now - failures[-1], timedelta(0))
        return max(wait - passed, timedelta(0))


OF_ACCOUNT: Final = Throttle(free=5)
OF_ADDRESS: Final = Throttle(free=20)
