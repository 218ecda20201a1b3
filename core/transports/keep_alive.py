"""Idle connections that are kept open for the next request to the same place."""

from __future__ import annotations

import os
import threading
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakSet

import httpcore

MAX_CONNECTIONS = 100
"""As many requests are out at once, over all origins, for all threads together and for each event loop."""

KEPT_S = 15.0
"""How long a connection is kept without use, in seconds."""

_MAX_IDLE = 20


class Line(Protocol):
    """A connection to one origin, which serves one attempt at a time."""

    def has_expired(self) -> bool:
        """Whether an idle line is of no use any more: it is too old, the peer has hung up, or said too much."""

    def is_idle(self) -> bool:
        """Whether the last answer was read to its end and the peer lets the connection be used again."""

    def close(self) -> None:
        """Hang up at once, without waiting for anything."""


LineT = TypeVar("LineT", bound=Line)


class KeepAlive(Generic[LineT]):
    """The idle lines, the last used first out. Threads may share it; a forked child begins with none."""

    def __init__(self) -> None:
        self._idle: list[tuple[httpcore.Origin, LineT]] = []
        self._abandoned: list[tuple[httpcore.Origin, LineT]] = []
        self._lock = threading.Lock()
        self._is_closed = False
        _keepers.add(self)

    def take(self, origin: httpcore.Origin) -> LineT | None:
        """An idle line to `origin` that still holds, if there is one. What has expired is closed."""
        while True:
            line = self._pop(origin)
            if line is None or not line.has_expired():
                return line
            line.close()

    def _pop(self, origin: httpcore.Origin) -> LineT | None:
        with self._lock:
            for index in range(len(self._idle) - 1, -1, -1):
                if self._idle[index][0] == origin:
                    return self._idle.pop(index)[1]
        return None

    def give(self, origin: httpcore.Origin, line: LineT) -> None:
        """Keep a line whose attempt is over, or close it when it cannot serve again."""
        surplus: LineT | None = line
        if line.is_idle():
            with self._lock:
                if not self._is_closed:
                    self._idle.append((origin, line))
                    surplus = self._idle.pop(0)[1] if len(self._idle) > _MAX_IDLE else None
        if surplus is not None:
            surplus.close()

    def close(self) -> None:
        """Close what is idle, and from now on whatever is given back."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for _, line in idle:
            line.close()

    def _start_child(self) -> None:
        """After a fork: the parent's lines are neither used nor closed here, for they are still the parent's."""
        self._lock = threading.Lock()
        self._abandoned += self._idle
        self._idle = []


_keepers: WeakSet[KeepAlive[Any]] = WeakSet()


def _start_children() -> None:
    for keeper in list(_keepers):
        keeper._start_child()  # noqa: SLF001 -- the same file.


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_children)
