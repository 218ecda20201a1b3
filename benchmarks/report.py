"""What a benchmark found: tables for people, the machine they were made on, and notes on how to read them."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from benchmarks.measure import Measured

RESULTS: Final = Path(__file__).parent / "results"
_MICROSECOND_NS: Final = 1_000
_MILLISECOND_NS: Final = 1_000_000
_SECOND_NS: Final = 1_000_000_000
_FINE: Final = 10


@dataclass(frozen=True, slots=True)
class Table:
    """One table: a sentence above it, its head, and its rows as text."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        lines = [self.head, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.head))]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        return "\n".join([self.title, "", _line(self.head, widths), _line(rule, widths)]) + "".join(
            f"\n{_line(row, widths)}" for row in self.rows
        )


@dataclass(frozen=True, slots=True)
class Report:
    """One subject: what is asked, what was found, how, and what to mind when reading it."""

    subject: str
    title: str
    question: str
    tables: tuple[Table, ...]
    how: str
    notes: tuple[str, ...]
    servers: tuple[str, ...] = ()

    def text(self, at: datetime) -> str:
        """The whole page, in Markdown."""
        notes = "\n".join(f"- {note}" for note in self.notes)
        tables = "\n\n".join(str(table) for table in self.tables)
        return (
            f"# {self.title}\n\n{self.question}\n\n"
            f"Measured on {at:%Y-%m-%d} on {machine(self.servers)}.\n\n"
            f"{tables}\n\n## How it was measured\n\n{self.how}\n\n## How to read it\n\n{notes}\n"
        )


def machine(servers: Sequence[str] = ()) -> str:
    """What it was measured on, as far as the figures depend on it."""
    parts = [
        f"{os.cpu_count()} cores ({platform.machine()}, {platform.system()})",
        f"Python {platform.python_version()}",
        f"SQLite {sqlite3.sqlite_version}",
        *servers,
    ]
    return ", ".join(parts)


def compared(title: str, measured: Mapping[str, Measured], floor: str) -> Table:
    """Each case beside the one named `floor`: the ratios of the medians first, by the clock and of CPU."""
    base = measured[floor]
    return Table(
        title,
        ("case", f"× {floor}", "× its CPU", "median", "middle 80 %", "CPU of the thread"),
        tuple(
            (
                one.name,
                ratio(one.wall_ns / base.wall_ns),
                ratio(one.cpu_ns / base.cpu_ns),
                duration(one.wall_ns),
                spread(one),
                duration(one.cpu_ns),
            )
            for one in measured.values()
        ),
    )


def spread(measured: Measured) -> str:
    """The middle eight tenths of the rounds."""
    low, high = measured.spread_ns
    return f"{duration(low)} – {duration(high)}"


def duration(nanoseconds: float) -> str:
    """A time with three figures or so, in the unit that suits it."""
    if nanoseconds < _MICROSECOND_NS:
        return f"{nanoseconds:.0f} ns"
    for limit, unit in ((_MILLISECOND_NS, "µs"), (_SECOND_NS, "ms")):
        if nanoseconds < limit:
            return f"{_figures(nanoseconds / limit * 1000)} {unit}"
    return f"{nanoseconds / _SECOND_NS:.2f} s"


def ratio(value: float) -> str:
    """How many times as much."""
    return f"{_figures(value)} ×"


def share(part: float, whole: float) -> str:
    """A part of a whole, in per cent."""
    return f"{100 * part / whole:.0f} %"


def _figures(value: float) -> str:
    if value < _FINE:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < _FINE * _FINE else f"{value:,.0f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"
