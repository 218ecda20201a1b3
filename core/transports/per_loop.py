"""What belongs to one event loop: its idle connections and how many requests it may have out."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, field
from weakref import WeakSet

from core.transports.async_line import AsyncLine
from core.transports.keep_alive import MAX_CONNECTIONS, KeepAlive


@dataclass(slots=True)
class LoopLines:
    """The connections of one event loop: a connection cannot be used on another loop."""

    idle: KeepAlive[AsyncLine] = field(default_factory=KeepAlive)
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_CONNECTIONS))


_ByLoop = dict[asyncio.AbstractEventLoop, tuple[LoopLines, AsyncGenerator[None, None]]]


class PerLoop:
    """The `LoopLines` of each event loop that is at work. Threads may share it; a forked child begins with none.

    They are held until the loop shuts its asynchronous generators down, as `asyncio.run` does at the end: one of ours
    is among them and closes what is idle while that is still possible. (A weak reference to the loop would not let it
    go any sooner, since its connections refer to it.) Those of a loop that was closed in another way are
    dropped when the next loop comes.
    """

    def __init__(self) -> None:
        self._by_loop: _ByLoop = {}
        self._abandoned: list[_ByLoop] = []
        self._lock = threading.Lock()
        _registers.add(self)

    async def here(self) -> LoopLines:
        """Those of the running loop."""
        loop = asyncio.get_running_loop()
        held = self._by_loop.get(loop)
        if held is not None:
            return held[0]
        lines = LoopLines()
        farewell = self._farewell(loop, lines)
        with self._lock:
            self._by_loop = {
                other: kept for other, kept in self._by_loop.items() if not other.is_closed()
            } | {loop: (lines, farewell)}
        await anext(farewell)
        return lines

    async def _farewell(
        self, loop: asyncio.AbstractEventLoop, lines: LoopLines
    ) -> AsyncGenerator[None, None]:
        """Waits for the loop to shut down."""
        try:
            yield
        finally:
            lines.idle.close()
            with self._lock:
                self._by_loop.pop(loop, None)

    def close(self) -> None:
        """Close what is idle, each on its own loop as soon as that goes on."""
        with self._lock:
            held = list(self._by_loop.items())
        for loop, (lines, _) in held:
            with suppress(RuntimeError):  # the loop was closed a moment ago.
                loop.call_soon_threadsafe(lines.idle.close)

    def _start_child(self) -> None:
        """After a fork: the parent's loops go on in the parent alone. To let go of one here would wake it up there."""
        self._lock = threading.Lock()
        self._abandoned.append(self._by_loop)
        self._by_loop = {}


_registers: WeakSet[PerLoop] = WeakSet()


def _start_children() -> None:
    for register in list(_registers):
        register._start_child()  # noqa: SLF001 -- the same file.


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_children)
