"""Every state store under one handle, on a clock that a test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import redis

from core.model.calling import CallClass
from core.policies.admission import Admission, AdmissionPolicy, Ask, Granted, RefusedByLimiter, Settlement
from core.state.base import (
    Ended,
    FailedElsewhere,
    FetchedElsewhere,
    Keep,
    Late,
    Opening,
    Settled,
    StateStore,
    Wanted,
)
from core.state.guarded import GuardedState
from core.state.memory import MemoryState
from core.state.redis import RedisState
from core.state.sqlite import SqliteState
from tests.fakes import NOON, FakeClock

NAMES = ("memory", "sqlite", "redis", "guarded")
SHARED = ("sqlite", "redis")
"""Those that several processes share."""

CIRCUIT = "address.juso"
KEY = "address:search:1"
SECOND = 1_000_000


def refused_for(admission: Admission) -> int:
    """How long the limit lets an attempt wait that it refuses."""
    assert isinstance(admission, RefusedByLimiter)
    return admission.retry_after_us


def to_keep(key: str, owner: str, value: bytes, fresh_seconds: float, keep_seconds: float) -> Keep:
    """Have `value` kept later."""
    return Keep(key, owner, lambda: value, len(value), fresh_seconds, keep_seconds)


class MachineClock(FakeClock):
    """The clock of a machine that can be started again, or of a server whose clock is set back.

    It goes in whole microseconds, so that every store sees the same ones.
    """

    def __init__(self) -> None:
        super().__init__()
        self._microseconds = 10**12

    def now(self) -> datetime:
        return NOON + timedelta(microseconds=self._microseconds - 10**12)

    def monotonic(self) -> float:
        return self._microseconds / 1e6

    def advance(self, seconds: float) -> None:
        self._microseconds += round(seconds * 1e6)

    def start_again(self, seconds: float) -> None:
        """Both times lie `seconds` earlier than they did."""
        self._microseconds -= round(seconds * 1e6)


@dataclass(frozen=True)
class Handle:
    """A store and how to move its time. With a `loop`, calls are opened and settled as an event loop does it."""

    name: str
    store: StateStore
    clock: MachineClock
    pass_time: Callable[[float], None]
    loop: asyncio.Runner | None = None

    def open(
        self,
        policy: AdmissionPolicy,
        wanted: Wanted | None = None,
        *,
        wait: float = 0,
        call_class: CallClass = CallClass.INTERACTIVE,
        is_check: bool = False,
        circuit: str = CIRCUIT,
    ) -> Opening:
        """The first step of a call, which may wait for its turn for so many seconds."""
        ask = Ask(round(wait * 1e6), call_class, is_check)
        if self.loop is None:
            return self.store.open(circuit, policy, ask, wanted)
        return self.loop.run(self.store.aopen(circuit, policy, ask, wanted))

    def admit(
        self,
        policy: AdmissionPolicy,
        *,
        wait: float = 0,
        call_class: CallClass = CallClass.INTERACTIVE,
        is_check: bool = False,
        circuit: str = CIRCUIT,
    ) -> Admission:
        """What comes of asking for an attempt."""
        opening = self.open(policy, wait=wait, call_class=call_class, is_check=is_check, circuit=circuit)
        outcome = opening.outcome
        assert opening.kept is None
        assert outcome is not None
        assert not isinstance(outcome, FetchedElsewhere | FailedElsewhere)
        return outcome

    def granted(
        self,
        policy: AdmissionPolicy,
        *,
        wait: float = 0,
        call_class: CallClass = CallClass.INTERACTIVE,
        is_check: bool = False,
        circuit: str = CIRCUIT,
    ) -> Granted:
        """An attempt that has to be granted."""
        admission = self.admit(policy, wait=wait, call_class=call_class, is_check=is_check, circuit=circuit)
        assert isinstance(admission, Granted), admission
        return admission

    def settle(
        self,
        policy: AdmissionPolicy,
        granted: Granted,
        settlement: Settlement,
        *,
        pause: float = 0,
        is_slow: bool = False,
        circuit: str = CIRCUIT,
    ) -> Settled:
        """Tell how an attempt ended."""
        ended = Ended(granted, settlement, round(pause * 1e6), is_slow)
        if self.loop is None:
            return self.store.settle(circuit, policy, ended)
        return self.loop.run(self.store.asettle(circuit, policy, ended))

    def end(
        self, policy: AdmissionPolicy, settlement: Settlement, times: int = 1, circuit: str = CIRCUIT
    ) -> None:
        """So many attempts, one after the other, which end like this."""
        for _ in range(times):
            self.settle(policy, self.granted(policy, circuit=circuit), settlement, circuit=circuit)

    def fail(self, policy: AdmissionPolicy, times: int, circuit: str = CIRCUIT) -> None:
        """So many attempts, one after the other, of an ill provider."""
        self.end(policy, Settlement.ILL, times, circuit)

    def later(self, *lates: Late) -> None:
        """Tell these later, and wait until that is done."""
        for late in lates:
            self.store.later(late)
        self.store.flush()

    def now_us(self) -> int:
        """The store's own time."""
        return self.store.peek("nothing.at_all").now

    def close(self) -> None:
        """Let go of everything."""
        self.store.close()
        if self.loop is not None:
            self.loop.close()


def open_store(
    name: str, directory: Path, redis_url: Callable[[], str], loop: asyncio.Runner | None = None
) -> Handle:
    """The store of that name on a clock of its own. Its database number or file may hold what others left."""
    clock = MachineClock()
    match name:
        case "memory":
            return Handle(name, MemoryState(clock), clock, clock.advance, loop)
        case "sqlite":
            return Handle(name, SqliteState(directory / "state.db", clock), clock, clock.advance, loop)
        case "guarded":
            guarded = GuardedState(MemoryState(clock), MemoryState(clock), clock, in_background=False)
            return Handle(name, guarded, clock, clock.advance, loop)
        case "redis":
            return _redis(redis_url(), clock, loop)
        case _:
            raise AssertionError(name)


def _redis(url: str, clock: MachineClock, loop: asyncio.Runner | None) -> Handle:
    """Redis on a test's clock: its circuits are told the time, and its kept values are made to expire sooner."""

    def pass_time(seconds: float) -> None:
        clock.advance(seconds)
        with redis.Redis.from_url(url) as server:
            for pattern in ("bongsu:cache:*", "bongsu:{*}:fresh*"):
                for key in server.scan_iter(match=pattern):
                    left = server.pttl(key)
                    if left >= 0:
                        server.pexpire(key, left - int(seconds * 1000))

    return Handle("redis", RedisState(url, clock, patience=10), clock, pass_time, loop)
