"""Write behind: what need not be known to the others at once is done a moment later, by a thread of its own.

A call hands over its word and goes on. The thread sleeps until there is something, lets two milliseconds more
come together, and hands all of it over as one batch. What that costs: when the process is killed outright, the last
few milliseconds are lost, which is why only such words may go this way whose loss heals by itself.
"""

from __future__ import annotations

import atexit
import os
from collections import deque
from collections.abc import Callable, Sequence
from threading import Condition, RLock, Thread
from typing import Any, Final, Generic, TypeVar
from weakref import WeakSet

import structlog

from core.clock import Clock, SystemClock
from core.errors import StorageError

_BATCH: Final = 200
_GATHER_SECONDS: Final = 0.002
_SECONDS_BETWEEN_COMPLAINTS: Final = 60.0
_SECONDS_AT_EXIT: Final = 2.0
_SECONDS_TO_CLOSE: Final = 5.0
_MACHINE: Final = SystemClock()

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class Behind(Generic[T]):
    """Hands what is put to `apply`, in order, in batches of at most 200. Threads may share it; a fork begins empty.

    At most `capacity` words wait; what comes on top of that is dropped and counted, and so is a batch for which
    `apply` raises `StorageError`, of which the log hears once a minute at the most. Any other error ends the thread
    loudly; the next word starts a new one.
    """

    def __init__(
        self,
        apply: Callable[[Sequence[T]], None],
        *,
        capacity: int = 10_000,
        name: str = "bongsu-behind",
        clock: Clock = _MACHINE,
    ) -> None:
        self._apply = apply
        self._capacity = capacity
        self._name = name
        self._clock = clock
        self._is_closed = False
        self._complained_at: float | None = None
        self._begin()
        _queues.add(self)

    @property
    def dropped(self) -> int:
        """How much was put and never done."""
        return self._dropped

    @property
    def waiting(self) -> int:
        """How much was put and is neither done nor dropped yet."""
        return self._put - self._ended

    def put(self, late: T) -> None:
        """Have this done soon. Neither waits nor raises."""
        with self._lock:
            if self._is_closed or len(self._queue) >= self._capacity:
                self._dropped += 1
                return
            self._queue.append(late)
            self._put += 1
            if self._is_idle:
                self._wake()

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until all that was put before is done or dropped. False when it was not within `timeout_s`."""
        with self._lock:
            until = self._put
            self._flushes += 1
            try:
                self._wake()
                if self._thread is None:
                    return self._ended >= until
                return self._has_ended.wait_for(lambda: self._ended >= until, timeout_s)
            finally:
                self._flushes -= 1

    def close(self) -> None:
        """Have done what was put, for five seconds at the most. Whatever is put afterwards is dropped, and counted."""
        with self._lock:
            self._is_closed = True
            self._wake()
            thread = self._thread
        if thread is not None:
            thread.join(_SECONDS_TO_CLOSE)

    def _begin(self) -> None:
        # Reentrant, because the garbage collector may end an abandoned call while this very thread is in here, and
        # the end of a call is put here, too.
        self._lock = RLock()
        self._has_work = Condition(self._lock)
        self._has_ended = Condition(self._lock)
        self._queue: deque[T] = deque()
        self._put = self._ended = self._dropped = self._flushes = 0
        self._thread: Thread | None = None
        self._is_idle = True

    def _wake(self) -> None:
        if self._thread is None:
            if not self._queue:
                return
            thread = Thread(target=self._run, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # The machine gives out no more threads for now, or Python is ending: the next word tries again.
                return
            self._thread = thread
        self._is_idle = False
        self._has_work.notify()

    def _run(self) -> None:
        try:
            while batch := self._next_batch():
                self._do(batch)
        finally:
            with self._lock:
                self._thread, self._is_idle = None, True

    def _next_batch(self) -> Sequence[T]:
        """What is to be done next; nothing once the queue is closed and empty."""
        with self._lock:
            while not self._queue:
                if self._is_closed:
                    return ()
                self._is_idle = True
                self._has_work.wait()
            self._is_idle = False
            if not self._flushes and not self._is_closed and len(self._queue) < _BATCH:
                self._has_work.wait(_GATHER_SECONDS)
            return [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]

    def _do(self, batch: Sequence[T]) -> None:
        is_done = False
        try:
            self._apply(batch)
            is_done = True
        except StorageError as error:
            self._complain(error)
        finally:
            with self._lock:
                self._ended += len(batch)
                self._dropped += 0 if is_done else len(batch)
                self._has_ended.notify_all()

    def _complain(self, error: StorageError) -> None:
        now = self._clock.monotonic()
        if self._complained_at is None or now - self._complained_at >= _SECONDS_BETWEEN_COMPLAINTS:
            self._complained_at = now
            _log.warning("state_words_dropped", queue=self._name, reason=str(error), dropped=self._dropped)


_queues: WeakSet[Behind[Any]] = WeakSet()


def _begin_in_child() -> None:
    for queue in list(_queues):
        queue._begin()  # noqa: SLF001 -- the same file.


def _flush_at_exit() -> None:
    for queue in list(_queues):
        queue.flush(_SECONDS_AT_EXIT)


atexit.register(_flush_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
