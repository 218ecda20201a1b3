"""What a state store is, said as plainly as possible: dictionaries, and the pure rules at the time that it is."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from core.model.calling import LONGEST_HISTORY
from core.policies.admission import AdmissionPolicy, Ask, Granted, ProviderState, admit, settle
from core.policies.override import Override, OverrideMode
from core.policies.rate_limit import NEVER, no_history
from core.state.base import (
    Ended,
    FailedElsewhere,
    FetchedElsewhere,
    Opening,
    Release,
    Settled,
    Wanted,
)


class Kept(NamedTuple):
    """A kept answer, by the reference's own time in microseconds."""

    value: bytes
    fresh_until: int
    expires_at: int


class Lease(NamedTuple):
    """Who fetches an answer, or (without an owner) the failure of the one who did."""

    owner: str | None
    since: int
    until: int
    failure: bytes | None = None


class Reference:
    """All that is known, and how it changes. Every method is told what time it is."""

    def __init__(self) -> None:
        self.circuits: defaultdict[str, ProviderState] = defaultdict(ProviderState)
        self.went: defaultdict[tuple[str, bool], list[int]] = defaultdict(list)
        self.kept: dict[str, Kept] = {}
        self.leases: dict[str, Lease] = {}

    def open(
        self, circuit: str, policy: AdmissionPolicy, ask: Ask, wanted: Wanted | None, now: int
    ) -> Opening:
        """As `StateStore.open`."""
        kept = None
        if wanted is not None:
            found = self.found(wanted.key, now)
            kept = found and found.value
            if found and now < found.fresh_until and not wanted.refreshes:
                return Opening(kept, None)
            lease = self.leases.get(wanted.key)
            if lease and lease.since <= now < lease.until:
                if lease.failure is not None and wanted.has_waited:
                    return Opening(kept, FailedElsewhere(lease.failure))
                if lease.owner is not None and lease.owner != wanted.owner:
                    return Opening(kept, FetchedElsewhere(lease.until - now))

        def history(back: int, is_reserved: bool) -> int:
            went = self.went[circuit, is_reserved]
            return went[-back] if back <= len(went) else NEVER

        is_exact = policy.limits is not None and policy.limits.limiter.is_exact
        self.circuits[circuit], admission = admit(
            self.circuits[circuit], policy, ask, now, history if is_exact else no_history
        )
        if isinstance(admission, Granted):
            at = now + admission.wait_us
            if is_exact:
                went = self.went[circuit, admission.is_reserved]
                self.went[circuit, admission.is_reserved] = [*went, at][-LONGEST_HISTORY:]
            if wanted is not None:
                self.leases[wanted.key] = Lease(wanted.owner, now, at + wanted.lease_us)
        return Opening(kept, admission)

    def settle(self, circuit: str, policy: AdmissionPolicy, ended: Ended, now: int) -> Settled:
        """As `StateStore.settle`."""
        granted, settlement, pause_us, is_slow = ended
        before = self.circuits[circuit]
        after = settle(before, policy, granted, settlement, now, pause_us=pause_us, is_slow=is_slow)
        self.circuits[circuit] = after
        return Settled.between(before, after, policy)

    def steer(
        self, circuit: str, mode: OverrideMode | None, seconds: int, by: str, reason: str, now: int
    ) -> None:
        """As `StateStore.steer`."""
        override = Override(mode, now + seconds * 1_000_000, by, reason, now) if mode else None
        self.circuits[circuit] = self.circuits[circuit]._replace(override=override)

    def keep(self, key: str, value: bytes, fresh_seconds: int, keep_seconds: int, now: int) -> None:
        """As `StateStore.write`."""
        self.kept[key] = Kept(value, now + fresh_seconds * 1_000_000, now + keep_seconds * 1_000_000)

    def release(self, release: Release, now: int) -> None:
        """As `StateStore.later` with a `Release`."""
        lease = self.leases.get(release.key)
        if lease is None or lease.owner != release.owner:
            return
        if release.failure is None:
            del self.leases[release.key]
        else:
            self.leases[release.key] = Lease(None, now, now + release.failure_us, release.failure)

    def found(self, key: str, now: int) -> Kept | None:
        """What is kept under a key."""
        kept = self.kept.get(key)
        return kept if kept and now < kept.expires_at else None
