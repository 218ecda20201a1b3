"""Processes that ask one shared store, all at once."""

from __future__ import annotations

import multiprocessing
import secrets
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import TypeVar

from core.clock import SystemClock
from core.policies.admission import AdmissionPolicy, Ask, Granted, Settlement
from core.state.base import Ended, Keep, StateStore, Wanted
from core.state.redis import RedisState
from core.state.sqlite import SqliteState

CIRCUIT = "address.juso"
PROCESSES = 4

T = TypeVar("T")

_SPAWN = multiprocessing.get_context("spawn")


class _Meeting:
    """Where the processes of one test wait for each other."""

    barrier: Barrier | None = None


def open_shared(where: str) -> StateStore:
    """The store at a Redis address or a path, on the real clock. On a busy machine a turn may be long in coming."""
    if "://" in where:
        return RedisState(where, patience=10)
    return SqliteState(Path(where), SystemClock(), patience_s=60)


def admitted(store: StateStore, policy: AdmissionPolicy, patience_us: int = 0) -> Granted | None:
    """An attempt, if it is granted."""
    outcome = store.open(CIRCUIT, policy, Ask(patience_us)).outcome
    return outcome if isinstance(outcome, Granted) else None


def in_four_processes(work: Callable[[str], T], where: str) -> list[T]:
    """What `work` gives in each of four processes, which begin together."""
    barrier = _SPAWN.Barrier(PROCESSES)
    with ProcessPoolExecutor(PROCESSES, _SPAWN, _join, (barrier,)) as pool:
        return list(pool.map(work, [where] * PROCESSES))


def count_grants(where: str, policy: AdmissionPolicy, times: int) -> int:
    """How many of so many attempts, none of which waits, are granted."""
    store = open_shared(where)
    store.peek(CIRCUIT)
    _meet()
    granted = sum(admitted(store, policy) is not None for _ in range(times))
    store.close()
    return granted


def reserve(where: str, policy: AdmissionPolicy, times: int) -> list[tuple[int, int]]:
    """The earliest and the latest moment at which each call can go that is granted, in the store's own time."""
    store = open_shared(where)
    store.peek(CIRCUIT)
    _meet()
    turns = []
    for _ in range(times):
        before = store.peek(CIRCUIT).now
        granted = admitted(store, policy, 10**12)
        after = store.peek(CIRCUIT).now
        if granted is not None:
            turns.append((before + granted.wait_us, after + granted.wait_us))
    store.close()
    return turns


def fail_often(where: str, policy: AdmissionPolicy, times: int) -> None:
    """So many attempts, each of which fails."""
    store = open_shared(where)
    store.peek(CIRCUIT)
    _meet()
    for _ in range(times):
        granted = admitted(store, policy)
        assert granted is not None
        store.settle(CIRCUIT, policy, Ended(granted, Settlement.ILL))
    store.close()


def fetch_each(where: str, keys: int) -> list[int]:
    """Want every one of so many answers, and fetch and keep those that no other process fetches or has fetched."""
    store = open_shared(where)
    store.peek(CIRCUIT)
    policy = AdmissionPolicy(None, None, None)
    owner = secrets.token_hex(8)
    _meet()
    fetched = []
    for number in range(keys):
        wanted = Wanted(f"address:search:{number}", owner, 60_000_000)
        if isinstance(store.open(CIRCUIT, policy, Ask(), wanted).outcome, Granted):
            fetched.append(number)
            store.later(Keep(wanted.key, owner, lambda: b"an answer", 9, 60, 60))
    store.close()
    return fetched


def probe_and_hang(where: str, policy: AdmissionPolicy) -> None:
    """Take the probe, say so, and never come back."""
    granted = admitted(open_shared(where), policy)
    print("probing" if granted and granted.is_probe else granted, flush=True)  # noqa: T201 -- its parent reads it.
    SystemClock().sleep(600)


def _join(barrier: Barrier) -> None:
    _Meeting.barrier = barrier


def _meet() -> None:
    if _Meeting.barrier is not None:
        _Meeting.barrier.wait(60)
