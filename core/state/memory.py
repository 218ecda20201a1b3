"""The store of one process: dictionaries and one lock, held for the decision alone.

What is used least gives way when the store is full. Time is the clock's monotonic time, so setting the
machine's clock changes nothing.

What is told later is done at once if the lock is free, and else by whoever takes the lock next, before anything
else; so nobody sees a state in which it is missing. A call that the garbage collector ends inside the lock, on the
very thread that holds it, can therefore tell its end without a deadlock. A forked child goes on by itself with what
its parent knew.
"""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from collections.abc import Callable
from threading import Lock
from typing import NamedTuple, assert_never
from weakref import WeakSet

from core.clock import Clock
from core.model.calling import LONGEST_HISTORY
from core.policies.admission import Admission, AdmissionPolicy, Ask, Granted, ProviderState, admit, settle
from core.policies.override import Override, OverrideMode
from core.policies.rate_limit import NEVER
from core.state.base import (
    Ended,
    FailedElsewhere,
    FetchedElsewhere,
    Keep,
    Late,
    Opening,
    Release,
    Settle,
    Settled,
    Snapshot,
    Wanted,
)
from core.state.lease import Lease
from core.state.pattern import matcher

_UNKNOWN = ProviderState()


_Value = bytes | Callable[[], bytes | None]
"""An answer that is kept; or, until somebody reads it, how to pack it."""


class _Entry(NamedTuple):
    value: _Value
    size: int
    fresh_until: int
    expires_at: int


class _Remembered:
    """When the last calls of a provider went, of each share."""

    def __init__(self) -> None:
        self._shared: deque[int] = deque(maxlen=LONGEST_HISTORY)
        self._reserved: deque[int] = deque(maxlen=LONGEST_HISTORY)

    def append(self, at: int, *, is_reserved: bool) -> None:
        (self._reserved if is_reserved else self._shared).append(at)

    def history(self, back: int, is_reserved: bool) -> int:
        """As `core.policies.rate_limit.History`."""
        gone = self._reserved if is_reserved else self._shared
        return gone[-back] if back <= len(gone) else NEVER


class MemoryState:
    """Shared state of the threads of one process.

    Holds at most `max_circuits` circuits, and `max_entries` cached values of `max_bytes` in sum.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        max_circuits: int = 10_000,
        max_entries: int = 10_000,
        max_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self._clock = clock
        self._max_circuits = max_circuits
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._lock = Lock()
        _memories.add(self)
        self._circuits: OrderedDict[str, ProviderState] = OrderedDict()
        self._histories: dict[str, _Remembered] = {}
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._leases: OrderedDict[str, Lease] = OrderedDict()
        self._late: deque[tuple[Late, int]] = deque()
        self._bytes = 0

    def open(self, circuit: str, policy: AdmissionPolicy, ask: Ask, wanted: Wanted | None = None) -> Opening:
        now = self._now()
        with self._lock:
            if self._late:
                self._catch_up()
            kept = None
            if wanted is not None:
                entry = self._entry(wanted.key, now)
                if entry is not None:
                    kept = self._read(wanted.key, entry)
                    if kept is not None and now < entry.fresh_until and not wanted.refreshes:
                        return Opening(kept, None)
                if elsewhere := self._elsewhere(wanted, now):
                    return Opening(kept, elsewhere)
            admission = self._admit(circuit, policy, ask, now)
            if wanted is not None and type(admission) is Granted:
                self._lend(wanted.key, Lease.of(wanted, admission, now))
        return Opening(kept, admission)

    async def aopen(
        self, circuit: str, policy: AdmissionPolicy, ask: Ask, wanted: Wanted | None = None
    ) -> Opening:
        return self.open(circuit, policy, ask, wanted)

    def settle(self, circuit: str, policy: AdmissionPolicy, ended: Ended) -> Settled:
        now = self._now()
        with self._lock:
            if self._late:
                self._catch_up()
            return self._settle(circuit, policy, ended, now)

    async def asettle(self, circuit: str, policy: AdmissionPolicy, ended: Ended) -> Settled:
        return self.settle(circuit, policy, ended)

    def later(self, late: Late) -> None:
        self._late.append((late, self._now()))
        # If this very thread holds it, that is so here, too. And `with` leaves an interrupt no moment at which the lock
        # is held and nobody lets go of it.
        if not self._lock.locked():
            with self._lock:
                self._catch_up()

    def flush(self) -> None:
        """Nothing is ever seen to be waiting."""

    def peek(self, circuit: str) -> Snapshot:
        with self._lock:
            self._catch_up()
            return Snapshot(self._circuits.get(circuit, _UNKNOWN), self._now())

    def assume(self, circuit: str, state: ProviderState) -> None:
        """Take `state`, which was learnt elsewhere, for what is known of a circuit."""
        with self._lock:
            self._catch_up()
            self._keep(circuit, state)

    def steer(
        self, circuit: str, mode: OverrideMode | None, *, seconds: float = 0, by: str = "", reason: str = ""
    ) -> Snapshot:
        now = self._now()
        override = Override(mode, now + round(seconds * 1e6), by, reason, now) if mode else None
        with self._lock:
            self._catch_up()
            after = self._circuits.get(circuit, _UNKNOWN)._replace(override=override)
            self._keep(circuit, after)
        return Snapshot(after, now)

    def read(self, key: str) -> bytes | None:
        with self._lock:
            self._catch_up()
            entry = self._entry(key, self._now())
            return None if entry is None else self._read(key, entry)

    def write(self, key: str, value: bytes, keep_seconds: float, fresh_seconds: float = 0) -> None:
        now = self._now()
        with self._lock:
            self._catch_up()
            self._write(key, value, len(value), keep_seconds, fresh_seconds, now)

    def delete(self, key: str) -> bool:
        with self._lock:
            self._catch_up()
            entry = self._entries.get(key)
            self._forget(key)
            return entry is not None and entry.expires_at > self._now()

    def delete_pattern(self, pattern: str) -> int:
        matches = matcher(pattern).fullmatch
        with self._lock:
            self._catch_up()
            now = self._now()
            found = [(key, entry) for key, entry in self._entries.items() if matches(key)]
            for key, _ in found:
                self._forget(key)
            return sum(entry.expires_at > now for _, entry in found)

    def close(self) -> None:
        """There is nothing to let go of."""

    def _start_child(self) -> None:
        """After a fork: what was learnt is kept, but who fetched an answer in the parent does not tell its end here.

        Another of the parent's threads may have been in the middle of a change.
        """
        self._lock = Lock()
        self._leases.clear()
        self._bytes = sum(entry.size for entry in self._entries.values())

    def _now(self) -> int:
        return round(self._clock.monotonic() * 1e6)

    def _catch_up(self) -> None:
        """Do what was told later, as of the time when it was told."""
        while self._late:
            self._do(*self._late.popleft())

    def _do(self, late: Late, now: int) -> None:
        match late:
            case Keep():
                self._write(late.key, late.pack, late.size, late.keep_seconds, late.fresh_seconds, now)
                self._end_lease(late.key, late.owner, None)
            case Settle():
                self._settle(late.circuit, late.policy, late.ended, now)
            case Release():
                self._end_lease(late.key, late.owner, Lease.after(late, now))
            case _:
                assert_never(late)

    def _admit(self, circuit: str, policy: AdmissionPolicy, ask: Ask, now: int) -> Admission:
        before = self._circuits.get(circuit, _UNKNOWN)
        if policy.limits is None or not policy.limits.limiter.is_exact:
            after, admission = admit(before, policy, ask, now)
        else:
            remembered = self._histories.get(circuit) or _Remembered()
            after, admission = admit(before, policy, ask, now, remembered.history)
            if type(admission) is Granted:
                self._histories[circuit] = remembered
                remembered.append(now + admission.wait_us, is_reserved=admission.is_reserved)
        if after is not before:
            self._keep(circuit, after)
        return admission

    def _settle(self, circuit: str, policy: AdmissionPolicy, ended: Ended, now: int) -> Settled:
        before = self._circuits.get(circuit, _UNKNOWN)
        after = settle(
            before,
            policy,
            ended.granted,
            ended.settlement,
            now,
            pause_us=ended.pause_us,
            is_slow=ended.is_slow,
        )
        if after is not before:
            self._keep(circuit, after)
        return Settled.between(before, after, policy)

    def _elsewhere(self, wanted: Wanted, now: int) -> FetchedElsewhere | FailedElsewhere | None:
        lease = self._leases.get(wanted.key)
        return None if lease is None else lease.stops(wanted, now)

    def _lend(self, key: str, lease: Lease) -> None:
        self._leases[key] = lease
        self._leases.move_to_end(key)
        if len(self._leases) > self._max_entries:
            self._leases.popitem(last=False)

    def _end_lease(self, key: str, owner: str, left_behind: Lease | None) -> None:
        lease = self._leases.get(key)
        if lease is None or lease.owner != owner:
            return
        if left_behind is None:
            del self._leases[key]
        else:
            self._leases[key] = left_behind

    def _entry(self, key: str, now: int) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires_at <= now:
            self._forget(key)
            return None
        self._entries.move_to_end(key)
        return entry

    def _read(self, key: str, entry: _Entry) -> bytes | None:
        """The bytes of an entry, packed when they are first asked for. None when it turns out to be none."""
        if isinstance(entry.value, bytes):
            return entry.value
        value = entry.value()
        if value is None:
            self._forget(key)
        else:
            self._entries[key] = entry._replace(value=value)
        return value

    def _write(
        self,
        key: str,
        value: _Value,
        size: int,
        keep_seconds: float,
        fresh_seconds: float,
        now: int,
    ) -> None:
        self._forget(key)
        self._entries[key] = _Entry(
            value, size, now + int(fresh_seconds * 1e6), now + int(keep_seconds * 1e6)
        )
        self._bytes += size
        while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            self._forget(next(iter(self._entries)))

    def _keep(self, circuit: str, state: ProviderState) -> None:
        self._circuits[circuit] = state
        self._circuits.move_to_end(circuit)
        if len(self._circuits) > self._max_circuits:
            forgotten, _ = self._circuits.popitem(last=False)
            self._histories.pop(forgotten, None)

    def _forget(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.size


_memories: WeakSet[MemoryState] = WeakSet()


def _start_children() -> None:
    for memory in list(_memories):
        memory._start_child()  # noqa: SLF001 -- the same file.


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_children)
