"""Stand-ins that are real code: a clock that goes when it is told to, and chance that is known beforehand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

NOON: Final = datetime(2026, 3, 2, 12, tzinfo=UTC)
"""When a fake clock starts: noon in UTC, nine in the evening in Seoul."""


class FakeClock:
    """A `core.clock.Clock` that stands still until someone sleeps or moves it. Threads may share it."""

    def __init__(self, now: datetime = NOON) -> None:
        self._now = now
        self._monotonic = 1_000.0
        self._lock = threading.Lock()
        self.slept: list[float] = []
        """Every wait that was asked for, in seconds."""

    def now(self) -> datetime:
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        with self._lock:
            return self._monotonic

    def sleep(self, seconds: float) -> None:
        """Note the wait, and let that much time pass at once."""
        with self._lock:
            self.slept.append(seconds)
        self.advance(max(0.0, seconds))

    async def asleep(self, seconds: float) -> None:
        """The same, and let the other tasks run once."""
        self.sleep(seconds)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        """Let time pass: wall time and durations alike."""
        if seconds < 0:
            raise ValueError("Time does not go back; `set_back` moves the wall clock alone.")
        with self._lock:
            self._now += timedelta(seconds=seconds)
            self._monotonic += seconds

    def set_back(self, seconds: float) -> None:
        """Move the wall clock back (forward when negative), as an administrator does. Durations do not notice."""
        with self._lock:
            self._now -= timedelta(seconds=seconds)


class FakeChance:
    """A `core.clock.Chance` that draws the given numbers in order, again and again."""

    def __init__(self, draws: Iterable[float] = (0.5,)) -> None:
        self._draws = tuple(draws)
        self._next = 0

    def __call__(self) -> float:
        draw = self._draws[self._next % len(self._draws)]
        self._next += 1
        return draw
