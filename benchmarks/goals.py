"""What was to be reached, beside what was: each said plainly, met or missed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.report import Table


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure that was to be reached, in words; and whether it was."""

    what: str
    measured: str
    wanted: str
    is_met: bool


class Section(NamedTuple):
    """A part of a report: its tables, and the goals that can be read off them."""

    tables: tuple[Table, ...]
    goals: tuple[Goal, ...]


def at_least(what: str, value: float, bound: float, shown: Callable[[float], str]) -> Goal:
    """Reached from `bound` on."""
    return Goal(what, shown(value), f"≥ {shown(bound)}", value >= bound)


def at_most(what: str, value: float, bound: float, shown: Callable[[float], str]) -> Goal:
    """Reached up to `bound`."""
    return Goal(what, shown(value), f"≤ {shown(bound)}", value <= bound)


def table(goals: Sequence[Goal]) -> Table:
    """All goals with what was measured."""
    missed = sum(not goal.is_met for goal in goals)
    return Table(
        f"The goals: {len(goals) - missed} met, {missed} missed.",
        ("goal", "measured here", "wanted", ""),
        tuple((goal.what, goal.measured, goal.wanted, "met" if goal.is_met else "missed") for goal in goals),
    )
