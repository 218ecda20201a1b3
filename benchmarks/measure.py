"""Measuring: several ways to do one thing, round by round in turn, so that a noisy machine is noisy for all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter_ns, thread_time_ns
from typing import Final

_FEWEST_ROUNDS: Final = 2
_SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured. `within_s` is the most that one table may take, in seconds."""

    rounds: int
    processes: int
    calls: int
    rows: int
    within_s: float


FULL: Final = Scale(rounds=40, processes=5, calls=50, rows=100_000, within_s=20)
QUICK: Final = Scale(rounds=2, processes=1, calls=5, rows=2_000, within_s=5)


def nothing() -> None:
    """What most cases need before a round."""


@dataclass(frozen=True, slots=True)
class Case:
    """One way to do the thing. `run` is timed `calls` times a round and told which call it is, counted from 0.

    `before` is not timed. A round stands for `units` things a call (rows of a batch, say).
    """

    name: str
    run: Callable[[int], object]
    calls: int = 1
    units: int = 1
    before: Callable[[], object] = nothing


@dataclass(slots=True)
class Measured:
    """What one thing took, in nanoseconds, a figure a round: by the clock, and of this thread's CPU."""

    name: str
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def wall_ns(self) -> float:
        return median(self.wall)

    @property
    def cpu_ns(self) -> float:
        return median(self.cpu)

    @property
    def rounds(self) -> int:
        return len(self.wall)

    @property
    def spread_ns(self) -> tuple[float, float]:
        """Between these lie the middle eight tenths of the rounds."""
        ordered = sorted(self.wall)
        tenth = len(ordered) // 10
        return ordered[tenth], ordered[-1 - tenth]


def interleaved(label: str, cases: Sequence[Case], rounds: int, within_s: float) -> Mapping[str, Measured]:
    """Measure each case once a round, beginning with another one each time, and after one round for warming up.

    Stops early when `within_s` seconds are over, but not before two rounds.
    """
    measured = {case.name: Measured(case.name) for case in cases}
    done = dict.fromkeys(measured, 0)
    announce(label)
    stop_at = perf_counter_ns() + int(within_s * _SECOND_NS)
    for number in range(rounds + 1):
        if number > _FEWEST_ROUNDS and perf_counter_ns() > stop_at:
            break
        progress(f"{label}: round {number} of {rounds}")
        for place in range(len(cases)):
            case = cases[(number + place) % len(cases)]
            wall, cpu = _round(case, done[case.name])
            done[case.name] += case.calls
            if number:
                measured[case.name].wall.append(wall)
                measured[case.name].cpu.append(cpu)
    progress("")
    return measured


def _round(case: Case, first: int) -> tuple[float, float]:
    case.before()
    run = case.run
    cpu, wall = thread_time_ns(), perf_counter_ns()
    for number in range(first, first + case.calls):
        run(number)
    wall, cpu = perf_counter_ns() - wall, thread_time_ns() - cpu
    things = case.calls * case.units
    return wall / things, cpu / things


def progress(line: str) -> None:
    """Say on standard error what is being done: in a terminal in the place of what was said before, else not at all."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


def announce(line: str) -> None:
    """Say on standard error what comes now, wherever that goes."""
    progress("")
    print(line, file=sys.stderr, flush=True)
