"""Waiting for something real: a process, a socket, a thread. A test that can use a fake clock waits for nothing."""

from __future__ import annotations

from collections.abc import Callable

from core.clock import SystemClock

_PAUSE_SECONDS = 0.01


def until(condition: Callable[[], bool], *, within: float = 10.0, what: str = "the condition") -> None:
    """Return as soon as `condition` holds. Raises AssertionError when it does not within so many seconds."""
    clock = SystemClock()
    deadline = clock.monotonic() + within
    while not condition():
        if clock.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {within} s")
        clock.sleep(_PAUSE_SECONDS)
