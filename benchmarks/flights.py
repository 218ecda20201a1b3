"""Counting flights at the socket: how often a thread writes, and then waits for what comes back."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

_WRITES: Final = ("send", "sendall", "sendmsg")
_READS: Final = ("recv", "recv_into")


@dataclass(slots=True)
class Flights:
    """The flights of each thread, by its identity. A flight is a write, of any length, whose answer is waited for."""

    _flown: dict[int, int] = field(default_factory=dict)
    _waiting: set[tuple[int, int]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def blocking(self) -> int:
        """Those of the thread that asks."""
        return self._flown.get(threading.get_ident(), 0)

    @property
    def others(self) -> int:
        """Those of all other threads."""
        return sum(self._flown.values()) - self.blocking

    def wrote(self, descriptor: int) -> None:
        """This thread sends something over that socket."""
        with self._lock:
            self._waiting.add((threading.get_ident(), descriptor))

    def reads(self, descriptor: int) -> None:
        """This thread asks that socket for something: the flight is one if it has written to it before."""
        thread = threading.get_ident()
        with self._lock:
            if (thread, descriptor) in self._waiting:
                self._waiting.remove((thread, descriptor))
                self._flown[thread] = self._flown.get(thread, 0) + 1


@contextmanager
def counted() -> Iterator[Flights]:
    """Count the flights of every Python socket of the process in the meantime, which makes them slower."""
    flights = Flights()
    with _noted(_WRITES, flights.wrote), _noted(_READS, flights.reads):
        yield flights


@contextmanager
def _noted(names: tuple[str, ...], note: Callable[[int], None]) -> Iterator[None]:
    """Have `note` told of the descriptor before each of these methods of `socket.socket` does its work."""
    try:
        for name in names:
            setattr(socket.socket, name, _noting(getattr(socket.socket, name), note))
        yield
    finally:
        for name in names:
            delattr(socket.socket, name)  # what is inherited shows again.


def _noting(method: Callable[..., object], note: Callable[[int], None]) -> Callable[..., object]:
    def noted(self: socket.socket, *args: object, **options: object) -> object:
        note(self.fileno())
        return method(self, *args, **options)

    return noted
