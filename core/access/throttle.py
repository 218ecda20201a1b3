"""How long to wait after failed sign-ins: a pure rule.

The first failures are free. Each further one doubles the wait, from 30 seconds up to 15 minutes; so nobody can
try more than ten passwords of one account in any 15 minutes. A wait is over by itself, but whoever goes on failing
on purpose, once in 15 minutes, can keep an account shut to its owner too: sessions that are open go on, and a new
password (`bongsu user password`) forgets the failures, so that its owner can sign in at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from core.access import tokens

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


def account(name: str | None) -> bytes:
    """What the failures of an account are counted under, by its normal name; all that can be no name are one."""
    return tokens.hash_of(f"account {name}")


def address(of: str) -> bytes:
    """What the failures from an address are counted under."""
    return tokens.hash_of(f"address {of}")
