"""The store of one process: two dictionaries and one lock, held for the decision alone.

What is used least gives way when the store is full. Time is the clock's monotonic time, so setting the
machine's clock changes nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from core.clock import Clock
from core.policies.admission import (
    Admission,
    AdmissionPolicy,
    Granted,
    ProviderState,
    Settlement,
    admit,
    settle,
)
from core.state.base import Settled, Snapshot
from core.state.pattern import matcher

_UNKNOWN = ProviderState()


@dataclass(frozen=True, slots=True)
class _Entry:
    value: bytes
    expires_at: int


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
        self._circuits: OrderedDict[str, ProviderState] = OrderedDict()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0

    def admit(self, circuit: str, policy: AdmissionPolicy, max_wait_us: int) -> Admission:
        with self._lock:
            before = self._circuits.get(circuit, _UNKNOWN)
            after, admission = admit(before, policy, self._now(), max_wait_us)
            if after is not before:
                self._keep(circuit, after)
        return admission

    def settle(
        self,
        circuit: str,
        policy: AdmissionPolicy,
        granted: Granted,
        settlement: Settlement,
        *,
        pause_us: int = 0,
    ) -> Settled:
        with self._lock:
            before = self._circuits.get(circuit, _UNKNOWN)
            after = settle(before, policy, granted, settlement, self._now(), pause_us=pause_us)
            if after is not before:
                self._keep(circuit, after)
        return Settled.between(before, after)

    def peek(self, circuit: str) -> Snapshot:
        with self._lock:
            return Snapshot(self._circuits.get(circuit, _UNKNOWN), self._now())

    def read(self, key: str) -> bytes | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            if entry.expires_at <= self._now():
                self._forget(key)
                return None
            self._entries.move_to_end(key)
            return entry.value

    def write(self, key: str, value: bytes, keep_seconds: float) -> None:
        with self._lock:
            self._forget(key)
            self._entries[key] = _Entry(value, self._now() + round(keep_seconds * 1e6))
            self._bytes += len(value)
            while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
                self._forget(next(iter(self._entries)))

    def delete(self, key: str) -> bool:
        with self._lock:
            entry = self._entries.get(key)
            self._forget(key)
            return entry is not None and entry.expires_at > self._now()

    def delete_pattern(self, pattern: str) -> int:
        matches = matcher(pattern).fullmatch
        with self._lock:
            now = self._now()
            found = [(key, entry) for key, entry in self._entries.items() if matches(key)]
            for key, _ in found:
                self._forget(key)
            return sum(entry.expires_at > now for _, entry in found)

    def close(self) -> None:
        """There is nothing to let go of."""

    def _now(self) -> int:
        return round(self._clock.monotonic() * 1e6)

    def _keep(self, circuit: str, state: ProviderState) -> None:
        self._circuits[circuit] = state
        self._circuits.move_to_end(circuit)
        if len(self._circuits) > self._max_circuits:
            self._circuits.popitem(last=False)

    def _forget(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= len(entry.value)
