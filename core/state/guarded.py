"""A store that may fail, with a local one that stands in, so that a broken store never breaks a call.

    shared ── one failure, in a call or behind ──▶ standing in
    standing in ── a write of the thread behind ──▶ shared

The call that meets the failure pays for it once; from then on none asks the store, until a thread of its own, which
tries about once a second, could write to it. Each change is logged once. The same thread notes every ten seconds in
the store that this process is there (`core.state.presence`), so that the share of the limits is known by which a
process goes on alone (`core.state.stand_in`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from threading import Event, Lock, Thread
from typing import Final, TypeVar
from weakref import WeakSet

import structlog

from core.clock import Chance, Clock, system_chance
from core.errors import StorageError
from core.policies.admission import AdmissionPolicy, Ask, Granted, RefusedByCircuit, Settlement
from core.policies.override import OverrideMode
from core.state.base import Ended, Late, Opening, Settle, Settled, Snapshot, StateStore, Wanted
from core.state.memory import MemoryState
from core.state.presence import BEAT_SECONDS, Presence
from core.state.stand_in import StandIn

RETRY_SECONDS: Final = 1.0
"""How long the store is left alone after a failure, on average."""

_SECONDS_TO_CLOSE: Final = 1.0
_SHORTEST_REST_SECONDS: Final = 0.05

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class GuardedState:
    """`primary` while it works, else `fallback`.

    With `in_background` a thread of its own tends to the store, from the first call on; without, someone has to call
    `tend` from time to time.
    """

    def __init__(
        self,
        primary: StateStore,
        fallback: MemoryState,
        clock: Clock,
        chance: Chance = system_chance,
        *,
        in_background: bool = True,
    ) -> None:
        self._primary = primary
        self._fallback = fallback
        self._clock = clock
        self._chance = chance
        self._in_background = in_background
        self._presence = Presence()
        self._stand_in = StandIn(fallback, self._presence)
        self._degraded_since: datetime | None = None
        self._is_closed = False
        self._retry_at = 0.0
        self._begin()
        _guards.add(self)

    @property
    def is_degraded(self) -> bool:
        """Whether the stand-in serves."""
        return self._degraded_since is not None

    @property
    def degraded_since(self) -> datetime | None:
        """Since when the stand-in serves; None while it does not."""
        return self._degraded_since

    @property
    def processes(self) -> int:
        """How many processes shared the store when it was last reached: by so many the limits are divided."""
        return self._presence.processes

    def open(self, circuit: str, policy: AdmissionPolicy, ask: Ask, wanted: Wanted | None = None) -> Opening:
        if not self._is_tended:
            self._have_it_tended()
        if self._degraded_since is None:
            try:
                opening = self._primary.open(circuit, policy, ask, wanted)
            except StorageError as error:
                self._note_failure(error)
            else:
                self._stand_in.hear(circuit, opening.outcome)
                return opening
        return self._stand_in.open(circuit, policy, ask, wanted)

    async def aopen(
        self, circuit: str, policy: AdmissionPolicy, ask: Ask, wanted: Wanted | None = None
    ) -> Opening:
        if not self._is_tended:
            self._have_it_tended()
        if self._degraded_since is None:
            try:
                opening = await self._primary.aopen(circuit, policy, ask, wanted)
            except StorageError as error:
                self._note_failure(error)
            else:
                self._stand_in.hear(circuit, opening.outcome)
                return opening
        return self._stand_in.open(circuit, policy, ask, wanted)

    def settle(self, circuit: str, policy: AdmissionPolicy, ended: Ended) -> Settled:
        self._tell_the_other(circuit, policy, ended)
        if self._stand_in.has_granted(ended.granted):
            return self._stand_in.settle(circuit, policy, ended)
        if self._degraded_since is None:
            try:
                return self._heard(circuit, policy, self._primary.settle(circuit, policy, ended))
            except StorageError as error:
                self._note_failure(error)
        return self._stand_in.uncounted(circuit, policy)

    async def asettle(self, circuit: str, policy: AdmissionPolicy, ended: Ended) -> Settled:
        self._tell_the_other(circuit, policy, ended)
        if self._stand_in.has_granted(ended.granted):
            return self._stand_in.settle(circuit, policy, ended)
        if self._degraded_since is None:
            try:
                return self._heard(circuit, policy, await self._primary.asettle(circuit, policy, ended))
            except StorageError as error:
                self._note_failure(error)
        return self._stand_in.uncounted(circuit, policy)

    def later(self, late: Late) -> None:
        """As `StateStore.later`. Kept answers and the ends of leases are told to both, so that either can go on."""
        if not isinstance(late, Settle):
            self._fallback.later(late)
            if self._degraded_since is None:
                self._primary.later(late)
            return
        self._tell_the_other(late.circuit, late.policy, late.ended)
        if self._stand_in.has_granted(late.ended.granted):
            self._stand_in.settle_later(late)
        elif self._degraded_since is None:
            self._primary.later(late)

    def flush(self) -> None:
        self._primary.flush()
        self._fallback.flush()

    def peek(self, circuit: str) -> Snapshot:
        return self._first_of(lambda: self._primary.peek(circuit), lambda: self._fallback.peek(circuit))

    def steer(
        self, circuit: str, mode: OverrideMode | None, *, seconds: float = 0, by: str = "", reason: str = ""
    ) -> Snapshot:
        """As `StateStore.steer`, in both stores.

        Raises `StorageError` when the primary cannot be told: the word then holds in this process alone.
        """
        self._fallback.steer(circuit, mode, seconds=seconds, by=by, reason=reason)
        return self._primary.steer(circuit, mode, seconds=seconds, by=by, reason=reason)

    def read(self, key: str) -> bytes | None:
        return self._first_of(lambda: self._primary.read(key), lambda: self._fallback.read(key))

    def write(self, key: str, value: bytes, keep_seconds: float, fresh_seconds: float = 0) -> None:
        self._first_of(
            lambda: self._primary.write(key, value, keep_seconds, fresh_seconds),
            lambda: self._fallback.write(key, value, keep_seconds, fresh_seconds),
        )

    def delete(self, key: str) -> bool:
        """Forget `key` in both stores. Whether the primary had it.

        Raises `StorageError` when the primary cannot be asked: a stand-in cannot promise that it forgets.
        """
        self._fallback.delete(key)
        return self._primary.delete(key)

    def delete_pattern(self, pattern: str) -> int:
        """Forget what matches in both stores. How many there were in the primary.

        Raises `StorageError` as `delete` does.
        """
        self._fallback.delete_pattern(pattern)
        return self._primary.delete_pattern(pattern)

    def tend(self) -> None:
        """Look whether a store that was lost is back, and note in one that is there that this process is, too."""
        if self._degraded_since is not None and self._clock.monotonic() >= self._retry_at:
            self._try_again()
        if self._degraded_since is None and self._clock.monotonic() >= self._beat_at:
            self._beat()

    def close(self) -> None:
        self._is_closed = True
        self._news.set()
        if self._tender is not None:
            self._tender.join(_SECONDS_TO_CLOSE)
        self._primary.close()
        self._fallback.close()

    def _first_of(self, ask_primary: Callable[[], T], ask_fallback: Callable[[], T]) -> T:
        if self._degraded_since is None:
            try:
                return ask_primary()
            except StorageError as error:
                self._note_failure(error)
        return ask_fallback()

    def _tell_the_other(self, circuit: str, policy: AdmissionPolicy, ended: Ended) -> None:
        """What a provider asks for itself holds whichever store decides next."""
        if ended.pause_us <= 0:
            return
        pause = Settle(circuit, policy, Ended(Granted(0), Settlement.NOTHING, ended.pause_us))
        if self._stand_in.has_granted(ended.granted):
            self._primary.later(pause)
        else:
            self._fallback.later(pause)

    def _heard(self, circuit: str, policy: AdmissionPolicy, settled: Settled) -> Settled:
        if settled.opened and policy.breaker:
            self._stand_in.hear(circuit, RefusedByCircuit(policy.breaker.recovery_us))
        return settled

    def _try_again(self) -> None:
        try:
            # A store that can only be read decides nothing: one that is full, or a replica.
            self._presence.beat(self._primary)
        except StorageError:
            self._retry_at = self._clock.monotonic() + self._about(RETRY_SECONDS)
        else:
            self._beat_at = self._clock.monotonic() + self._about(BEAT_SECONDS)
            self._note_success()

    def _beat(self) -> None:
        self._beat_at = self._clock.monotonic() + self._about(BEAT_SECONDS)
        try:
            self._presence.beat(self._primary)
        except StorageError as error:
            self._note_failure(error)
        else:
            self._stand_in.note_use()

    def _about(self, seconds: float) -> float:
        """As long on average, but not for all processes at the same moment."""
        return seconds * (0.5 + self._chance())

    def _note_failure(self, error: StorageError) -> None:
        with self._lock:
            self._retry_at = self._clock.monotonic() + self._about(RETRY_SECONDS)
            if self._degraded_since is not None:
                return
            self._stand_in.take_over()
            self._degraded_since = self._clock.now()
        if not self._is_tended:
            self._have_it_tended()
        self._news.set()
        _log.warning("state_store_lost", reason=str(error), processes=self._presence.processes)

    def _note_success(self) -> None:
        with self._lock:
            since, self._degraded_since = self._degraded_since, None
        if since is not None:
            _log.info("state_store_back", seconds=(self._clock.now() - since).total_seconds())

    def _begin(self) -> None:
        self._lock = Lock()
        self._news = Event()
        self._tender: Thread | None = None
        self._is_tended = not self._in_background
        self._beat_at = self._clock.monotonic()

    def _have_it_tended(self) -> None:
        with self._lock:
            if self._is_tended or self._is_closed:
                return
            self._is_tended = True
            tender = Thread(target=self._keep_tending, name="bongsu-state", daemon=True)
            try:
                tender.start()
            except RuntimeError:
                # The machine gives out no more threads for now, or Python is ending: the next call tries again.
                self._is_tended = False
            else:
                self._tender = tender

    def _keep_tending(self) -> None:
        try:
            while not self._is_closed:
                self.tend()
                due_at = self._beat_at if self._degraded_since is None else self._retry_at
                # Never at once, whatever the clock says: a thread that does not rest holds up all others.
                self._news.wait(max(_SHORTEST_REST_SECONDS, due_at - self._clock.monotonic()))
                self._news.clear()
        finally:
            self._is_tended = False


_guards: WeakSet[GuardedState] = WeakSet()


def _begin_in_child() -> None:
    for guard in list(_guards):
        guard._begin()  # noqa: SLF001 -- the same file.


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
