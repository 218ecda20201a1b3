"""Processes that ask one shared store, all at once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import TypeVar

from core.clock import SystemClock
from core.policies.admission import AdmissionPolicy, Granted, Settlement
from core.state.base import StateStore
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
    """The store at a Redis address or a path, on the real clock."""
    return RedisState(where) if "://" in where else SqliteState(Path(where), SystemClock())


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
    granted = sum(isinstance(store.admit(CIRCUIT, policy, 0), Granted) for _ in range(times))
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
        admission = store.admit(CIRCUIT, policy, 10**12)
        after = store.peek(CIRCUIT).now
        if isinstance(admission, Granted):
            turns.append((before + admission.wait_us, after + admission.wait_us))
    store.close()
    return turns


def fail_often(where: str, policy: AdmissionPolicy, times: int) -> None:
    """So many attempts, each of which fails."""
    store = open_shared(where)
    store.peek(CIRCUIT)
    _meet()
    for _ in range(times):
        admission = store.admit(CIRCUIT, policy, 0)
        assert isinstance(admission, Granted)
        store.settle(CIRCUIT, policy, admission, Settlement.ILL)
    store.close()


def probe_and_hang(where: str, policy: AdmissionPolicy) -> None:
    """Take the probe, say so, and never come back."""
    admission = open_shared(where).admit(CIRCUIT, policy, 0)
    print("probing" if isinstance(admission, Granted) and admission.is_probe else admission, flush=True)  # noqa: T201 -- its parent reads it.
    SystemClock().sleep(600)


def _join(barrier: Barrier) -> None:
    _Meeting.barrier = barrier


def _meet() -> None:
    if _Meeting.barrier is not None:
        _Meeting.barrier.wait(60)
