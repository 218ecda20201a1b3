"""The seam to shared state: what a store has to do, in two operations an attempt.

Three stores keep the same promise and pass one conformance suite: `memory` (one process), `sqlite` (one
machine) and `redis` (any number of machines).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from core.policies.admission import Admission, AdmissionPolicy, Granted, ProviderState, Settlement


@dataclass(frozen=True, slots=True)
class Settled:
    """The provider's state after an attempt ended, and whether that attempt opened or closed the circuit.

    A probe that fails opens the circuit again, which counts as opening it.
    """

    state: ProviderState
    opened: bool = False
    closed: bool = False

    @staticmethod
    def between(before: ProviderState, after: ProviderState) -> Settled:
        """What the step from `before` to `after` was."""
        has_turned = before.breaker.generation != after.breaker.generation
        is_closed = after.breaker.opened_at is None
        return Settled(after, opened=has_turned and not is_closed, closed=has_turned and is_closed)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A provider's state as one look found it, with the store's own time (microseconds)."""

    state: ProviderState
    now: int


class StateStore(Protocol):
    """What every process must agree on. Each method is atomic; none of them waits for a turn.

    `circuit` names what is guarded: integration and provider, as in `address.juso`. Raises
    `core.errors.StorageError` when the store itself cannot be used.
    """

    def admit(self, circuit: str, policy: AdmissionPolicy, max_wait_us: int) -> Admission:
        """Ask whether an attempt may go (`core.policies.admission.admit` on the store's clock)."""

    def settle(
        self,
        circuit: str,
        policy: AdmissionPolicy,
        granted: Granted,
        settlement: Settlement,
        *,
        pause_us: int = 0,
    ) -> Settled:
        """Tell how an admitted attempt ended (`core.policies.admission.settle` on the store's clock)."""

    def peek(self, circuit: str) -> Snapshot:
        """Look without changing anything."""

    def read(self, key: str) -> bytes | None:
        """The bytes kept under `key`, or None when there are none or their time is over."""

    def write(self, key: str, value: bytes, keep_seconds: float) -> None:
        """Keep `value` under `key` for `keep_seconds`, in the place of what was there."""

    def delete(self, key: str) -> bool:
        """Forget `key`. Whether there was something to forget."""

    def delete_pattern(self, pattern: str) -> int:
        """Forget every key that matches `pattern`, where `*` stands for any text and all else for itself.

        Returns how many were forgotten.
        """

    def close(self) -> None:
        """Let go of files and connections. The store is not used afterwards."""
