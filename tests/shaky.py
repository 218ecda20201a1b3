"""A store that can be away, or only be read, and counts how often it was asked."""

from __future__ import annotations

from core.errors import StorageError
from core.policies.admission import AdmissionPolicy, Ask
from core.policies.override import OverrideMode
from core.state.base import Ended, Late, Opening, Settled, Snapshot, Wanted
from core.state.memory import MemoryState


class ShakyState(MemoryState):
    """A store that can be away. One that is full, or a replica, can be read and refuses all that changes anything."""

    is_away = False
    is_full = False
    asked = 0
    dropped = 0

    def open(self, circuit: str, policy: AdmissionPolicy, ask: Ask, wanted: Wanted | None = None) -> Opening:
        self._ask_to_change()
        return super().open(circuit, policy, ask, wanted)

    def settle(self, circuit: str, policy: AdmissionPolicy, ended: Ended) -> Settled:
        self._ask_to_change()
        return super().settle(circuit, policy, ended)

    def later(self, late: Late) -> None:
        if self.is_away or self.is_full:
            self.dropped += 1
        else:
            super().later(late)

    def peek(self, circuit: str) -> Snapshot:
        self._ask()
        return super().peek(circuit)

    def steer(
        self, circuit: str, mode: OverrideMode | None, *, seconds: float = 0, by: str = "", reason: str = ""
    ) -> Snapshot:
        self._ask_to_change()
        return super().steer(circuit, mode, seconds=seconds, by=by, reason=reason)

    def read(self, key: str) -> bytes | None:
        self._ask()
        return super().read(key)

    def write(self, key: str, value: bytes, keep_seconds: float, fresh_seconds: float = 0) -> None:
        self._ask_to_change()
        super().write(key, value, keep_seconds, fresh_seconds)

    def delete(self, key: str) -> bool:
        self._ask_to_change()
        return super().delete(key)

    def delete_pattern(self, pattern: str) -> int:
        self._ask_to_change()
        return super().delete_pattern(pattern)

    def _ask(self) -> None:
        self.asked += 1
        if self.is_away:
            raise StorageError("away")

    def _ask_to_change(self) -> None:
        self._ask()
        if self.is_full:
            raise StorageError("full")
