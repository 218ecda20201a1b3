"""How long processes wait for their turn at one SQLite file: `python -m benchmarks.turns`.

Each of them opens attempts one after the other, with and without a pause in between (one millisecond on average).
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path
from time import perf_counter
from typing import Final

from core.clock import SystemClock, system_chance
from core.policies.admission import AdmissionPolicy, Ask, Granted
from core.policies.rate_limit import LimitPolicy
from core.state.sqlite import SqliteState

_CIRCUIT: Final = "address.juso"
_POLICY: Final = AdmissionPolicy(limits=LimitPolicy(per_minute=100_000_000, per_hour=1_000_000_000))
_ASK: Final = Ask(5_000_000)
_PROCESSES: Final = (1, 4, 8)
_CALLS: Final = {0.0: 20_000, 0.001: 3_000}
_PATIENCE_S: Final = 30.0


def main() -> None:
    """Print one line for each number of processes and pause."""
    print("processes  pause    calls/s    p50       p99       p99.9     worst")
    for pause_s, calls in _CALLS.items():
        for processes in _PROCESSES:
            began = perf_counter()
            took = sorted(_together(processes, calls, pause_s))
            rate = len(took) / (perf_counter() - began)
            figures = "  ".join(f"{_at(took, share) * 1e6:5.0f} µs" for share in (0.5, 0.99, 0.999, 1.0))
            print(f"{processes:9}  {pause_s * 1000:2.0f} ms  {rate:9.0f}  {figures}")


def _together(processes: int, calls: int, pause_s: float) -> list[float]:
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        spawn.Pool(processes, _meet_at, (spawn.Barrier(processes),)) as pool,
    ):
        work = [(Path(folder) / "state.db", calls, pause_s)] * processes
        return [seconds for each in pool.starmap(_open_often, work, chunksize=1) for seconds in each]


class _Meeting:
    """Where the processes wait for each other."""

    barrier: Barrier


def _meet_at(barrier: Barrier) -> None:
    _Meeting.barrier = barrier


def _open_often(path: Path, calls: int, pause_s: float) -> list[float]:
    """How many seconds each of so many attempts took to be granted."""
    clock = SystemClock()
    store = SqliteState(path, clock, patience_s=_PATIENCE_S)
    store.peek(_CIRCUIT)
    _Meeting.barrier.wait()
    took = []
    for _ in range(calls):
        began = perf_counter()
        outcome = store.open(_CIRCUIT, _POLICY, _ASK).outcome
        took.append(perf_counter() - began)
        if not isinstance(outcome, Granted):
            raise TypeError(f"an attempt was refused in the middle of a measurement: {outcome}")
        if pause_s:
            clock.sleep(pause_s * 2 * system_chance())
    store.close()
    return took


def _at(took: Sequence[float], share: float) -> float:
    return took[min(len(took) - 1, int(len(took) * share))]


if __name__ == "__main__":
    main()
