"""A store that may fail, with a local one that stands in, so that a broken store never breaks a call.

After a failure the stand-in serves for a second; then one call tries the store again. Each change is logged
once. What the two know stays apart: an attempt that one of them granted is never counted by the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from threading import Lock
from typing import TypeVar

import structlog

from core.clock import Clock
from core.errors import StorageError
from core.policies.admission import Admission, AdmissionPolicy, Granted, Settlement
from core.state.base import Settled, Snapshot, StateStore

RETRY_SECONDS = 1.0

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class GuardedState:
    """`primary` while it works, else `fallback`, which must not fail.

    While it stands in, each process keeps its own circuits, limits and answers.
    """

    def __init__(self, primary: StateStore, fallback: StateStore, clock: Clock) -> None:
        self._primary = primary
        self._fallback = fallback
        self._clock = clock
        self._lock = Lock()
        self._degraded_since: datetime | None = None
        self._retry_at = 0.0

    @property
    def is_degraded(self) -> bool:
        """Whether the stand-in serves."""
        return self._degraded_since is not None

    @property
    def degraded_since(self) -> datetime | None:
        """Since when the stand-in serves; None while it does not."""
        return self._degraded_since

    def admit(self, circuit: str, policy: AdmissionPolicy, max_wait_us: int) -> Admission:
        return self._first_of(
            lambda: self._primary.admit(circuit, policy, max_wait_us),
            lambda: _marked(self._fallback.admit(circuit, policy, max_wait_us)),
        )

    def settle(
        self,
        circuit: str,
        policy: AdmissionPolicy,
        granted: Granted,
        settlement: Settlement,
        *,
        pause_us: int = 0,
    ) -> Settled:
        if _is_marked(granted):
            if pause_us > 0 and not self.is_degraded:
                self._first_of(lambda: _pause(self._primary, circuit, policy, pause_us), lambda: None)
            return self._fallback.settle(circuit, policy, _unmarked(granted), settlement, pause_us=pause_us)
        return self._first_of(
            lambda: self._primary.settle(circuit, policy, granted, settlement, pause_us=pause_us),
            lambda: _pause(self._fallback, circuit, policy, pause_us),
        )

    def peek(self, circuit: str) -> Snapshot:
        return self._first_of(lambda: self._primary.peek(circuit), lambda: self._fallback.peek(circuit))

    def read(self, key: str) -> bytes | None:
        return self._first_of(lambda: self._primary.read(key), lambda: self._fallback.read(key))

    def write(self, key: str, value: bytes, keep_seconds: float) -> None:
        self._first_of(
            lambda: self._primary.write(key, value, keep_seconds),
            lambda: self._fallback.write(key, value, keep_seconds),
        )

    def delete(self, key: str) -> bool:
        """Forget `key` in both stores.

        Raises `StorageError` when the primary cannot be asked: a stand-in cannot promise that it forgets.
        """
        in_fallback = self._fallback.delete(key)
        return self._primary.delete(key) or in_fallback

    def delete_pattern(self, pattern: str) -> int:
        """Forget what matches in both stores. Raises `StorageError` as `delete` does."""
        in_fallback = self._fallback.delete_pattern(pattern)
        return self._primary.delete_pattern(pattern) + in_fallback

    def close(self) -> None:
        self._primary.close()
        self._fallback.close()

    def _first_of(self, ask_primary: Callable[[], T], ask_fallback: Callable[[], T]) -> T:
        if not self._may_ask_primary():
            return ask_fallback()
        try:
            answer = ask_primary()
        except StorageError as error:
            self._note_failure(error)
            return ask_fallback()
        if self.is_degraded:
            self._note_success()
        return answer

    def _may_ask_primary(self) -> bool:
        """Whether this call asks the primary. Of those that come when a failed one is due, only the first does."""
        if not self.is_degraded:
            return True
        with self._lock:
            now = self._clock.monotonic()
            if now < self._retry_at:
                return False
            self._retry_at = now + RETRY_SECONDS
            return True

    def _note_failure(self, error: StorageError) -> None:
        with self._lock:
            self._retry_at = self._clock.monotonic() + RETRY_SECONDS
            if self._degraded_since is not None:
                return
            self._degraded_since = self._clock.now()
        _log.warning("state_store_lost", reason=str(error))

    def _note_success(self) -> None:
        with self._lock:
            since, self._degraded_since = self._degraded_since, None
        if since is not None:
            _log.info("state_store_back", seconds=(self._clock.now() - since).total_seconds())


def _marked(admission: Admission) -> Admission:
    """What the stand-in granted, told apart by a negative generation, which no store ever grants."""
    if isinstance(admission, Granted):
        return replace(admission, generation=-1 - admission.generation)
    return admission


def _unmarked(granted: Granted) -> Granted:
    return replace(granted, generation=-1 - granted.generation)


def _is_marked(granted: Granted) -> bool:
    return granted.generation < 0


def _pause(store: StateStore, circuit: str, policy: AdmissionPolicy, pause_us: int) -> Settled:
    """Pass on a pause, and nothing else, to a store that did not grant the attempt."""
    return store.settle(circuit, policy, Granted(0), Settlement.NOTHING, pause_us=pause_us)
