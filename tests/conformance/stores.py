"""Every state store under one handle, on a clock that a test moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import redis

from core.policies.admission import Admission, AdmissionPolicy, Granted, Settlement
from core.state.base import StateStore
from core.state.guarded import GuardedState
from core.state.memory import MemoryState
from core.state.redis import RedisState
from core.state.sqlite import SqliteState
from tests.fakes import FakeClock

NAMES = ("memory", "sqlite", "redis", "guarded")
SHARED = ("sqlite", "redis")
"""Those that several processes share."""


class MachineClock(FakeClock):
    """The clock of a machine that can be started again, or of a server whose clock is set back."""

    def __init__(self) -> None:
        super().__init__()
        self._monotonic = 1_000_000.0

    def start_again(self, seconds: float) -> None:
        """Both times lie `seconds` earlier than they did."""
        with self._lock:
            self._now -= timedelta(seconds=seconds)
            self._monotonic -= seconds


@dataclass(frozen=True)
class Handle:
    """A store and how to move its time."""

    name: str
    store: StateStore
    clock: MachineClock
    pass_time: Callable[[float], None]

    def admit(self, policy: AdmissionPolicy, *, wait: float = 0, circuit: str = "address.juso") -> Admission:
        """Ask for an attempt that may wait for so many seconds."""
        return self.store.admit(circuit, policy, round(wait * 1e6))

    def granted(self, policy: AdmissionPolicy, *, wait: float = 0, circuit: str = "address.juso") -> Granted:
        """An attempt that has to be granted."""
        admission = self.admit(policy, wait=wait, circuit=circuit)
        assert isinstance(admission, Granted), admission
        return admission

    def fail(self, policy: AdmissionPolicy, times: int, circuit: str = "address.juso") -> None:
        """So many attempts, one after the other, of an ill provider."""
        for _ in range(times):
            granted = self.granted(policy, circuit=circuit)
            self.store.settle(circuit, policy, granted, Settlement.ILL)

    def now_us(self) -> int:
        """The store's own time."""
        return self.store.peek("nothing").now


def open_store(name: str, directory: Path, redis_url: Callable[[], str]) -> Handle:
    """The store of that name on a clock of its own. Its database number or file may hold what others left."""
    clock = MachineClock()
    match name:
        case "memory":
            return Handle(name, MemoryState(clock), clock, clock.advance)
        case "sqlite":
            return Handle(name, SqliteState(directory / "state.db", clock), clock, clock.advance)
        case "guarded":
            guarded = GuardedState(MemoryState(clock), MemoryState(clock), clock)
            return Handle(name, guarded, clock, clock.advance)
        case "redis":
            return _redis(redis_url(), clock)
        case _:
            raise AssertionError(name)


def _redis(url: str, clock: MachineClock) -> Handle:
    """Redis on a test's clock: its circuits are told the time, and its keys are made to expire sooner."""

    def pass_time(seconds: float) -> None:
        clock.advance(seconds)
        with redis.Redis.from_url(url) as server:
            for key in server.scan_iter(match="bongsu:*"):
                left = server.pttl(key)
                if left >= 0:
                    server.pexpire(key, left - int(seconds * 1000))

    return Handle("redis", RedisState(url, clock), clock, pass_time)
