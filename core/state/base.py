"""The seam to shared state: what a store has to do, in one blocking step before an attempt and at most one after.

Three stores keep the same promise and pass one conformance suite: `memory` (one process), `sqlite` (one
machine) and `redis` (any number of machines).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from core.policies.admission import (
    Admission,
    AdmissionPolicy,
    Ask,
    Granted,
    ProviderState,
    Settlement,
    may_retry,
)
from core.policies.override import OverrideMode


class Wanted(NamedTuple):
    """The answer that a call would have from the cache, and the right to be the only one that fetches it.

    `owner` names the call; the right ends by itself after `lease_us`. `has_waited` is whether the call has already
    found that another one fetches it; `refreshes` whether a fresh answer is no reason not to go.
    """

    key: str
    owner: str
    lease_us: int
    has_waited: bool = False
    refreshes: bool = False


class FetchedElsewhere(NamedTuple):
    """Another call fetches the same answer, for another `left_us` at the most. No token is taken."""

    left_us: int


class FailedElsewhere(NamedTuple):
    """The call that this one waited for has failed a moment ago; `failure` is what it left behind."""

    failure: bytes


Outcome = Admission | FetchedElsewhere | FailedElsewhere
"""What came of asking whether an attempt may go."""


class Opening(NamedTuple):
    """What the first step of a call found: the kept answer, if any, and what came of asking.

    `outcome` is None when the kept answer is fresh: then nothing was asked, and no token taken. Both are None when
    the store holds the answer to be fresh, but has thrown it away for want of room: ask again with `refreshes`.
    """

    kept: bytes | None
    outcome: Outcome | None


class Ended(NamedTuple):
    """How an attempt ended: what it was granted, what it proved, and how long the provider wants to be left alone."""

    granted: Granted
    settlement: Settlement
    pause_us: int = 0
    is_slow: bool = False


class Settled(NamedTuple):
    """The provider's state after an attempt ended, and whether that attempt opened or closed the circuit.

    A probe that fails opens the circuit again, which counts as opening it. `may_retry` is what the retry budget says.
    """

    state: ProviderState
    opened: bool = False
    closed: bool = False
    may_retry: bool = True

    @staticmethod
    def between(before: ProviderState, after: ProviderState, policy: AdmissionPolicy) -> Settled:
        """What the step from `before` to `after` was."""
        has_turned = before.breaker.generation != after.breaker.generation
        is_closed = after.breaker.opened_at is None
        return Settled(
            after, has_turned and not is_closed, has_turned and is_closed, may_retry(after, policy)
        )


class Settle(NamedTuple):
    """Tell later how an attempt ended."""

    circuit: str
    policy: AdmissionPolicy
    ended: Ended


class Kept(NamedTuple):
    """An answer that is kept: fresh for `fresh_seconds` and there for `keep_seconds`. It ends the lease of `owner`."""

    key: str
    owner: str
    value: bytes
    fresh_seconds: float
    keep_seconds: float


class Keep(NamedTuple):
    """Keep an answer, which is packed where it is kept and not on its caller's way; and end the lease of `owner`.

    `pack` gives the bytes, about `size` of them; None when the answer turns out to be none that can be kept.
    """

    key: str
    owner: str
    pack: Callable[[], bytes | None]
    size: int
    fresh_seconds: float
    keep_seconds: float

    def packed(self) -> Kept | Release:
        """What a store has to do, now that it comes to it."""
        value = self.pack()
        if value is None:
            return Release(self.key, self.owner)
        return Kept(self.key, self.owner, value, self.fresh_seconds, self.keep_seconds)


class Release(NamedTuple):
    """End the lease of `owner`. `failure`, if any, is left for `failure_us` to those who have waited for it."""

    key: str
    owner: str
    failure: bytes | None = None
    failure_us: int = 0


Late = Settle | Keep | Release
"""What need not be known to the others before the caller goes on."""


def to_give_back(
    circuit: str, policy: AdmissionPolicy, wanted: Wanted | None, opening: Opening
) -> tuple[Late, ...]:
    """What to tell a store when nobody is there any more to use what it granted."""
    if not isinstance(opening.outcome, Granted):
        return ()
    nothing = Settle(circuit, policy, Ended(opening.outcome, Settlement.NOTHING))
    return (nothing,) if wanted is None else (nothing, Release(wanted.key, wanted.owner))


class Snapshot(NamedTuple):
    """A provider's state as one look found it, with the store's own time (microseconds)."""

    state: ProviderState
    now: int


class StateStore(Protocol):
    """What every process must agree on. Each method is atomic; none of them waits for a turn.

    `circuit` names what is guarded: integration and provider, as in `address.juso`; a `key` begins with the
    integration and a colon (`core.policies.cache.cache_key`). Raises `core.errors.StorageError` when the store itself
    cannot be used.
    """

    def open(self, circuit: str, policy: AdmissionPolicy, ask: Ask, wanted: Wanted | None = None) -> Opening:
        """Look for a kept answer and, unless it is fresh, ask whether an attempt may go: one step, one flight.

        The order is: a fresh answer, another call that fetches it, the circuit, the limits
        (`core.policies.admission.admit` on the store's clock). What is granted comes with the lease on the key.
        """

    async def aopen(
        self, circuit: str, policy: AdmissionPolicy, ask: Ask, wanted: Wanted | None = None
    ) -> Opening:
        """`open`, without holding up the event loop."""

    def settle(self, circuit: str, policy: AdmissionPolicy, ended: Ended) -> Settled:
        """Tell how an admitted attempt ended (`core.policies.admission.settle` on the store's clock)."""

    async def asettle(self, circuit: str, policy: AdmissionPolicy, ended: Ended) -> Settled:
        """`settle`, without holding up the event loop."""

    def later(self, late: Late) -> None:
        """Have this done within a few milliseconds, in the order given. Neither blocks nor raises.

        What cannot be done, or is too much, is dropped and counted: tokens come back, leases end by themselves.
        """

    def flush(self) -> None:
        """Return once all that was handed to `later` is done or dropped."""

    def peek(self, circuit: str) -> Snapshot:
        """Look without changing anything."""

    def steer(
        self, circuit: str, mode: OverrideMode | None, *, seconds: float = 0, by: str = "", reason: str = ""
    ) -> Snapshot:
        """Set an operator's word over the circuit for so many seconds, or (None) take it back. What it is then."""

    def read(self, key: str) -> bytes | None:
        """The bytes kept under `key`, or None when there are none or their time is over."""

    def write(self, key: str, value: bytes, keep_seconds: float, fresh_seconds: float = 0) -> None:
        """Keep `value` under `key` for `keep_seconds`, of which it is fresh for `fresh_seconds`."""

    def delete(self, key: str) -> bool:
        """Forget `key`. Whether there was something to forget."""

    def delete_pattern(self, pattern: str) -> int:
        """Forget every key that matches `pattern`, where `*` stands for any text and all else for itself.

        Returns how many were forgotten.
        """

    def close(self) -> None:
        """Do what was handed to `later`, and let go of files and connections. The store is not used afterwards."""
