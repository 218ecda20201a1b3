"""The recorder: takes a call that has ended, and a moment later makes its record, tells of it and has it stored.

All of that is the work of a thread of its own: a call must neither pay for its record nor wait for the database, nor
fail with either. What that costs: when the process is killed outright, the calls of the last 50 ms and the batch in
hand are lost.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from core.clock import Clock
from core.errors import StorageError
from core.model.call_record import CallRecord, EndedCall

Sink = Callable[[Sequence[CallRecord]], None]
"""Stores records, all or none of them. It may be given a record twice and must store it once.

It raises `StorageError` or `OSError` when it can store nothing for now; whatever else it raises is taken to be about
a record that it was given, and it is given fewer of them, down to one, to find out which.
"""

Tell = Callable[[CallRecord], None]
"""Tells of one call (`core.telemetry.lines.tell`)."""

_POLL_SECONDS: Final = 0.05
_BREATH_SECONDS: Final = 0.000_01
_BATCH: Final = 500
_CAPACITY: Final = 20_000
_MOST_BYTES: Final = 64 * 1024 * 1024
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0
_SECONDS_BETWEEN_COMPLAINTS: Final = 60.0

_log = logging.getLogger("bongsu.recorder")


@dataclass(frozen=True, slots=True)
class RecorderStats:
    """What became of the calls: stored, waiting to be, dropped because there was no room for them, or refused.

    A refused call is one that no record could be made of, or that the sink could not store for its own sake.
    `last_error` says why the newest attempt to store failed, and is None after one that did not.
    """

    written: int
    waiting: int
    dropped: int
    refused: int
    last_error: str | None


class _Mark(threading.Event):
    """Stands in the queue behind the calls that a flush waits for."""


class Recorder:
    """Hands records to `sink` in batches, in the order the calls ended. Threads may share it; a fork begins anew.

    While the sink fails, calls are told of all the same, and kept: at most `capacity` of them, which hold at most
    `most_bytes`. The oldest is dropped for the newest, and counted. One that no record can be made of, or whose record
    alone makes the sink fail, is left out, counted and complained of, and holds up no other. The thread starts with
    the first call.
    """

    _thread: threading.Thread | None

    def __init__(
        self,
        sink: Sink,
        clock: Clock,
        *,
        tell: Tell,
        capacity: int = _CAPACITY,
        most_bytes: int = _MOST_BYTES,
        batch: int = _BATCH,
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._tell = tell
        self._capacity = capacity
        self._most_bytes = most_bytes
        self._batch = batch
        self._complained_at: dict[str, float] = {}
        self._begin()
        _recorders.add(self)

    def put(self, ended: EndedCall) -> None:
        """Have the record of `ended` made, told of and stored soon. Waits for nothing, and raises nothing of all that."""
        size = ended.held_bytes
        self._queue.append((size, ended))
        # Without a lock, which would cost as much as all the rest: a sum that two threads make at once may lack one of
        # them, and is put right as soon as the queue is empty (`_take_ended`).
        self._queued_bytes += size
        if self._thread is None:
            self._start()
        if (
            len(self._queue) + len(self._made) > self._capacity
            or self._queued_bytes + self._made_bytes > self._most_bytes
        ):
            self._shed(self._capacity, self._most_bytes)

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until everything put before is told of, and is stored, refused or dropped.

        False when it was not within `timeout_s`: what is read then may lack the newest calls.
        """
        mark = _Mark()
        self._queue.append((0, mark))
        if self._thread is None:
            self._start()
        self._wake.set()
        return mark.wait(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Store what is waiting, for at most `timeout_s`; count as dropped what could not be stored, and stop.

        Whatever is put afterwards is dropped, and counted.
        """
        with self._lock:
            self._closed = True
            thread = self._thread
        self._wake.set()
        if thread is not None:
            thread.join(timeout_s)
        self._thread = None
        self._abandoned.set()
        atexit.unregister(self.close)
        self._shed(0, 0)

    @property
    def stats(self) -> RecorderStats:
        """What became of the calls so far."""
        waiting = len(self._queue) + len(self._made) + len(self._in_hand)
        return RecorderStats(self._written, waiting, self._dropped, self._refused, self._last_error)

    def _begin(self) -> None:
        """Set out with nothing and no thread: at first, and in the child of a fork."""
        # Each with the bytes that it holds. What has ended goes from the first queue to the second as a record.
        self._queue: deque[tuple[int, EndedCall | _Mark]] = deque()
        self._made: deque[tuple[int, CallRecord | _Mark]] = deque()
        self._in_hand: list[tuple[int, CallRecord]] = []
        self._queued_bytes = 0
        self._made_bytes = 0
        self._passed: list[_Mark] = []
        self._wake = threading.Event()
        self._abandoned = threading.Event()
        # A call can end anywhere, also where this thread of execution holds the lock: a signal, or a generator that is
        # thrown away.
        self._lock = threading.RLock()
        self._thread = None
        self._closed = False
        self._written = 0
        self._dropped = 0
        self._refused = 0
        self._last_error: str | None = None

    def _start(self) -> None:
        if not self._closed:
            thread = threading.Thread(target=self._run, name="bongsu-recorder", daemon=True)
            with self._lock:
                if self._thread is None and not self._closed:
                    self._thread = thread
                    thread.start()
                    atexit.register(self.close)
        if self._closed:
            self._shed(0, 0)

    def _shed(self, most: int, most_bytes: int) -> None:
        """Drop the oldest until at most `most` are left, which hold at most `most_bytes`."""
        with self._lock:
            while (
                len(self._queue) + len(self._made) > most
                or self._queued_bytes + self._made_bytes > most_bytes
            ):
                try:
                    oldest = self._pop_oldest()
                except IndexError:  # the writer took the last one meanwhile
                    return
                if isinstance(oldest, _Mark):
                    self._passed.append(oldest)
                else:
                    self._dropped += 1

    def _pop_oldest(self) -> EndedCall | CallRecord | _Mark:
        if self._made:
            size, record = self._made.popleft()
            self._made_bytes -= size
            return record
        size, ended = self._queue.popleft()
        self._queued_bytes -= size
        return ended

    def _run(self) -> None:
        pause, left = _FIRST_PAUSE_SECONDS, 0.0
        while not self._abandoned.is_set():
            is_last = self._closed
            is_idle = not self._make_records()
            if left <= 0:
                marks = self._take()
                is_idle = is_idle and not self._in_hand and not marks
                if self._store():
                    pause = _FIRST_PAUSE_SECONDS
                    for mark in marks:
                        mark.set()
                else:
                    self._put_back(marks)
                    left, pause = pause, min(pause * 2, _LONGEST_PAUSE_SECONDS)
            if is_idle:
                if is_last and left <= 0:
                    return
                left = 0.0 if self._rest(_POLL_SECONDS) else left - _POLL_SECONDS

    def _make_records(self) -> bool:
        """Make the records of a batch of what has ended, and tell of them. Whether there was anything."""
        for number in range(self._batch):
            try:
                size, ended = self._queue.popleft()
            except IndexError:
                self._queued_bytes = 0
                return number > 0
            self._queued_bytes -= size
            made = ended if isinstance(ended, _Mark) else self._record_of(ended)
            if made is not None:
                with self._lock:
                    self._made.append((size, made))
                    self._made_bytes += size
            if not self._closed:
                # Whoever waits for the interpreter has it now: otherwise a caller whose answer has come would wait
                # until the interpreter makes the two of them change places.
                self._abandoned.wait(_BREATH_SECONDS)
        return True

    def _record_of(self, ended: EndedCall) -> CallRecord | None:
        """The record, told of; None when there can be none."""
        try:
            record = ended.record()
        except Exception as error:  # noqa: BLE001 -- whatever is wrong with one call, the thread has to live; it is counted and complained of.
            self._refused += 1
            self._complain("recorder.no_record", _place(error))
            return None
        try:
            self._tell(record)
        except Exception as error:  # noqa: BLE001 -- a log that cannot be written costs no row; it is complained of.
            self._complain("recorder.untold", _place(error), id=record.id, trace_id=record.trace_id)
        return record

    def _take(self) -> list[_Mark]:
        """Take the next batch in hand. The marks returned stand behind nothing that is not."""
        with self._lock:
            marks, self._passed = self._passed, []
            while self._made and len(self._in_hand) < self._batch:
                size, made = self._made.popleft()
                self._made_bytes -= size
                if isinstance(made, _Mark):
                    marks.append(made)
                else:
                    self._in_hand.append((size, made))
        return marks

    def _store(self) -> bool:
        """Store what is in hand. Whether it is done with; what is not is still in hand."""
        size = len(self._in_hand)
        while self._in_hand:
            batch = [record for _, record in self._in_hand[:size]]
            try:
                self._sink(batch)
            except (StorageError, OSError) as error:
                self._last_error = _line(error)
                self._complain("recorder.failing", self._last_error)
                return False
            except Exception as error:  # noqa: BLE001 -- whatever a sink raises, the thread has to live; it is counted and told.
                self._last_error = _line(error)
                if size > 1:
                    size //= 2
                    continue
                self._refused += 1
                self._complain(
                    "recorder.refused", self._last_error, id=batch[0].id, trace_id=batch[0].trace_id
                )
            else:
                self._written += len(batch)
                self._last_error = None
            self._in_hand = self._in_hand[size:]
            size = len(self._in_hand)
        return True

    def _put_back(self, marks: Sequence[_Mark]) -> None:
        with self._lock:
            self._made.extendleft((0, mark) for mark in reversed(marks))
            self._made.extendleft(reversed(self._in_hand))
            self._made_bytes += sum(size for size, _ in self._in_hand)
            self._in_hand = []
            self._shed(self._capacity, self._most_bytes)

    def _rest(self, seconds: float) -> bool:
        """Wait so long, or less when someone wakes the thread. Whether someone did."""
        is_woken = self._wake.wait(seconds)
        self._wake.clear()
        return is_woken

    def _complain(self, event: str, error: str, **about: object) -> None:
        """Say it, but each thing once a minute."""
        now = self._clock.monotonic()
        before = self._complained_at.get(event)
        if before is None or now - before >= _SECONDS_BETWEEN_COMPLAINTS:
            self._complained_at[event] = now
            stats = self.stats
            counts = {"waiting": stats.waiting, "dropped": stats.dropped, "refused": stats.refused}
            _log.error(event, extra={"error": error, **counts, **about})


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".split("\n", maxsplit=1)[0]


def _place(error: Exception) -> str:
    """What went wrong and where. Not the error's own text, which may quote what was about to be redacted."""
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    return f"{type(error).__name__} in {frame.f_code.co_qualname}, line {line}"


def _begin_anew() -> None:
    for recorder in _recorders:
        recorder._begin()  # noqa: SLF001 -- the parent's queue is the parent's to store.


_recorders: Final[weakref.WeakSet[Recorder]] = weakref.WeakSet()
os.register_at_fork(after_in_child=_begin_anew)
