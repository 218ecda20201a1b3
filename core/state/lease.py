"""The right to be the only one that fetches an answer, as the stores keep it that keep it themselves."""

from __future__ import annotations

from typing import NamedTuple

from core.policies.admission import Granted
from core.state.base import FailedElsewhere, FetchedElsewhere, Release, Wanted


class Lease(NamedTuple):
    """Who fetches an answer; or, when there is a `failure`, what the one who did has left behind.

    It holds from `since` until just before `until` (microseconds of the store's clock), so that one that lies in the
    future (the machine was started again) holds nobody.
    """

    owner: str
    since: int
    until: int
    failure: bytes | None = None

    @staticmethod
    def of(wanted: Wanted, granted: Granted, now: int) -> Lease:
        """What comes with a granted attempt: the time until its turn is no part of what it may take."""
        return Lease(wanted.owner, now, now + granted.wait_us + wanted.lease_us)

    @staticmethod
    def after(release: Release, now: int) -> Lease | None:
        """What a released lease leaves behind: its failure, if it has one."""
        if release.failure is None:
            return None
        return Lease("", now, now + release.failure_us, release.failure)

    def stops(self, wanted: Wanted, now: int) -> FetchedElsewhere | FailedElsewhere | None:
        """Why a call may not fetch what it wants; None when it may. A failure stops only those who waited for it."""
        if not self.since <= now < self.until or self.owner == wanted.owner:
            return None
        if self.failure is None:
            return FetchedElsewhere(self.until - now)
        return FailedElsewhere(self.failure) if wanted.has_waited else None
