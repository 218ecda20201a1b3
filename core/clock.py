"""The only door to time and chance. Everything that needs them takes a `Clock` or a `Chance` as an argument."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

Chance = Callable[[], float]
"""Draws a number uniformly from [0, 1)."""


class Clock(Protocol):
    """What the time is, how much of it passes, and waiting for it to pass."""

    def now(self) -> datetime:
        """The wall-clock time, aware, in UTC. It may jump when the machine's clock is set."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back. Durations are differences of this."""

    def sleep(self, seconds: float) -> None:
        """Return after `seconds` (at once when that is zero or less)."""

    async def asleep(self, seconds: float) -> None:
        """Return after `seconds` (at once when that is zero or less), while the event loop goes on."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251 -- this is the door.

    def monotonic(self) -> float:
        return time.monotonic()  # noqa: TID251 -- this is the door.

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)  # noqa: TID251 -- this is the door.

    async def asleep(self, seconds: float) -> None:
        if seconds > 0:
            await asyncio.sleep(seconds)


def system_chance() -> float:
    """The machine's own chance: for jitter and sampling, never for secrets."""
    return random.random()  # noqa: S311, TID251 -- this is the door, and jitter needs no secrecy.
