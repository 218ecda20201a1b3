"""The recorder: takes a record on the way of a call, and has it stored a moment later by a thread of its own.

A call must neither wait for the database nor fail with it. What that costs: when the process is killed
outright, the records of the last 50 ms and the batch in hand are lost.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from core.clock import Clock
from core.errors import StorageError
from core.model.call_record import CallRecord

Sink = Callable[[Sequence[CallRecord]], None]
"""Stores records, all or none of them. It may be given a record twice and must store it once.

It raises `StorageError` or `OSError` when it can store nothing for now; whatever else it raises is taken to be about
a record that it was given, and it is given fewer of them, down to one, to find out which.
"""

_POLL_SECONDS: Final = 0.05
_BATCH: Final = 500
_CAPACITY: Final = 20_000
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0
_SECONDS_BETWEEN_COMPLAINTS: Final = 60.0

_log = logging.getLogger("bongsu.recorder")


@dataclass(frozen=True, slots=True)
class RecorderStats:
    """What became of the records: stored, waiting to be, dropped because there was no room for them, or refused.

    A refused record is one that the sink could not store for its own sake. `last_error` says why the newest attempt
    to store failed, and is None after one that did not.
    """

    written: int
    waiting: int
    dropped: int
    refused: int
    last_error: str | None


class _Mark(threading.Event):
    """Stands in the queue behind the records that a flush waits for."""


class Recorder:
    """Hands records to `sink` in batches, in the order they came. Threads may share it; a fork begins anew.

    While the sink fails, records are kept, at most `capacity` of them: the oldest is dropped for the newest,
    and counted. A record that alone makes it fail is left out, counted and told of, and holds up no other. The thread starts with the first record.
    """

    _thread: threading.Thread | None

    def __init__(self, sink: Sink, clock: Clock, *, capacity: int = _CAPACITY, batch: int = _BATCH) -> None:
        self._sink = sink
        self._clock = clock
        self._capacity = capacity
        self._batch = batch
        self._complained_at: dict[str, float] = {}
        self._begin()
        _recorders.add(self)

    def put(self, record: CallRecord) -> None:
        """Have `record` stored soon. Never waits for the sink, never raises what the sink raises."""
        self._queue.append(record)
        if self._thread is None:
            self._start()
        if len(self._queue) > self._capacity:
            self._shed(self._capacity)

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until everything put before is stored, refused or dropped.

        False when it was not within `timeout_s`: what is read then may lack the newest records.
        """
        mark = _Mark()
        self._queue.append(mark)
        if self._thread is None:
            self._start()
        self._wake.set()
        return mark.wait(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Store what is waiting, for at most `timeout_s`; count as dropped what could not be stored, and stop.

        Whatever is put afterwards is dropped, and counted.
        """
        with self._starting:
            self._closed = True
            thread = self._thread
        self._wake.set()
        if thread is not None:
            thread.join(timeout_s)
        self._thread = None
        self._abandoned.set()
        atexit.unregister(self.close)
        self._shed(0)

    @property
    def stats(self) -> RecorderStats:
        """What became of the records so far."""
        waiting = len(self._queue) + len(self._in_hand)
        return RecorderStats(self._written, waiting, self._dropped, self._refused, self._last_error)

    def _begin(self) -> None:
        """Set out with an empty queue and no thread: at first, and in the child of a fork."""
        self._queue: deque[CallRecord | _Mark] = deque()
        self._in_hand: list[CallRecord] = []
        self._passed: list[_Mark] = []
        self._wake = threading.Event()
        self._abandoned = threading.Event()
        self._starting = threading.Lock()
        self._shedding = threading.Lock()
        self._thread = None
        self._closed = False
        self._written = 0
        self._dropped = 0
        self._refused = 0
        self._last_error: str | None = None

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="bongsu-recorder", daemon=True)
                self._thread.start()
                atexit.register(self.close)
        if self._closed:
            self._shed(0)

    def _shed(self, room: int) -> None:
        """Drop the oldest records until `room` are left."""
        with self._shedding:
            while len(self._queue) > room:
                try:
                    oldest = self._queue.popleft()
                except IndexError:  # the writer took the last one meanwhile
                    return
                if isinstance(oldest, _Mark):
                    self._passed.append(oldest)
                else:
                    self._dropped += 1

    def _run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not self._abandoned.is_set():
            marks = self._take()
            if not self._in_hand and not marks:
                if self._closed:
                    return
                self._rest(_POLL_SECONDS)
                continue
            if self._store():
                pause = _FIRST_PAUSE_SECONDS
                for mark in marks:
                    mark.set()
            else:
                self._put_back(marks)
                self._rest(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _take(self) -> list[_Mark]:
        """Take the next batch in hand. The marks returned stand behind nothing that is still in the queue."""
        with self._shedding:
            marks, self._passed = self._passed, []
        while len(self._in_hand) < self._batch:
            try:
                item = self._queue.popleft()
            except IndexError:
                break
            if isinstance(item, _Mark):
                marks.append(item)
            else:
                self._in_hand.append(item)
        return marks

    def _store(self) -> bool:
        """Store what is in hand. Whether it is done with; what is not is still in hand."""
        size = len(self._in_hand)
        while self._in_hand:
            batch = self._in_hand[:size]
            try:
                self._sink(batch)
            except (StorageError, OSError) as error:
                self._last_error = _line(error)
                self._complain("recorder.failing")
                return False
            except Exception as error:  # noqa: BLE001 -- whatever a sink raises, the thread has to live; it is counted and told.
                self._last_error = _line(error)
                if size > 1:
                    size //= 2
                    continue
                self._refused += 1
                self._complain("recorder.refused", id=batch[0].id, trace_id=batch[0].trace_id)
            else:
                self._written += len(batch)
                self._last_error = None
            self._in_hand = self._in_hand[size:]
            size = len(self._in_hand)
        return True

    def _put_back(self, marks: list[_Mark]) -> None:
        self._queue.extendleft(reversed([*self._in_hand, *marks]))
        self._in_hand = []
        self._shed(self._capacity)

    def _rest(self, seconds: float) -> None:
        self._wake.wait(seconds)
        self._wake.clear()

    def _complain(self, event: str, **about: object) -> None:
        """Say it, but each thing once a minute."""
        now = self._clock.monotonic()
        before = self._complained_at.get(event)
        if before is None or now - before >= _SECONDS_BETWEEN_COMPLAINTS:
            self._complained_at[event] = now
            stats = self.stats
            counts = {"waiting": stats.waiting, "dropped": stats.dropped, "refused": stats.refused}
            _log.error(event, extra={"error": stats.last_error, **counts, **about})


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".split("\n", maxsplit=1)[0]


def _begin_anew() -> None:
    for recorder in _recorders:
        recorder._begin()  # noqa: SLF001 -- the parent's queue is the parent's to store.


_recorders: Final[weakref.WeakSet[Recorder]] = weakref.WeakSet()
os.register_at_fork(after_in_child=_begin_anew)
