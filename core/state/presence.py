"""Who shares a store: a small register in the store itself, in which each process notes that it is there.

Every process rewrites the register every ten seconds: its own name at the store's own time, and the others that were
there in the last thirty. When two write at once, one is lost until its next turn; hence the largest number of the
last three looks counts. It is asked for only when the store is away, so it need not be exact to the second.
"""

from __future__ import annotations

import os
import secrets
from collections import deque
from typing import Final

from pydantic import TypeAdapter, ValidationError

from core.state.base import StateStore

BEAT_SECONDS: Final = 10.0
"""How often a process notes that it is there."""

REGISTER: Final = "bongsu:processes"

_KEPT_SECONDS: Final = 30.0
_KEPT_US: Final = 30_000_000
_LOOKS: Final = 3
_NO_CIRCUIT: Final = "bongsu.processes"

_names = TypeAdapter(dict[str, int])


class Presence:
    """This process among those that share a store."""

    def __init__(self) -> None:
        self._pid = 0
        self._name = ""
        self._numbers: deque[int] = deque((1,), maxlen=_LOOKS)
        self._place = 0

    @property
    def processes(self) -> int:
        """How many shared the store when it was last reached, this one included; 1 when it never was."""
        return max(self._numbers)

    @property
    def place(self) -> int:
        """Which of them this one is, from 0."""
        return self._place

    def beat(self, store: StateStore) -> None:
        """Note that this process is there, and who else is. Raises `StorageError` when the store is away."""
        if self._pid != os.getpid():
            # A fork is another process.
            self._pid, self._name = os.getpid(), secrets.token_hex(8)
        now = store.peek(_NO_CIRCUIT).now
        there = {name: at for name, at in _read(store.read(REGISTER)).items() if abs(now - at) < _KEPT_US}
        there[self._name] = now
        store.write(REGISTER, _names.dump_json(there), _KEPT_SECONDS)
        self._numbers.append(len(there))
        self._place = sorted(there).index(self._name)


def _read(register: bytes | None) -> dict[str, int]:
    """The register, or an empty one when what is kept is none."""
    try:
        return {} if register is None else _names.validate_json(register)
    except ValidationError:
        return {}
