"""What is done behind a caller's back: renewing an answer that is past its time to live, checking an ill provider."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore, Lock
from typing import Protocol

import structlog

from core.client.fork import begin_in_child
from core.errors import CallError
from core.model.identity import carried

log = structlog.get_logger()


class Background(Protocol):
    """Where such errands go."""

    def submit(self, errand: Callable[[], object]) -> bool:
        """Have it done soon. False when there is too much to do already: then it is not."""


class BackgroundThreads:
    """A few threads, and a bound on what waits for them. They begin with the first errand."""

    def __init__(self, threads: int = 4, most_waiting: int = 64) -> None:
        self._threads = threads
        self._most_waiting = most_waiting
        self.begin()
        begin_in_child(self)

    def begin(self) -> None:
        """Begin without a thread: at first, and in the child of a fork."""
        self._places = BoundedSemaphore(self._most_waiting)
        self._lock = Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._is_closed = False

    def submit(self, errand: Callable[[], object]) -> bool:
        with self._lock:
            if self._is_closed or not self._places.acquire(blocking=False):
                return False
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="bongsu-behind")
            try:
                submitted = self._pool.submit(carried(errand))
            except RuntimeError:
                # The machine has no thread to give.
                self._places.release()
                return False
        submitted.add_done_callback(self._done)
        return True

    def finish(self) -> None:
        """Take no more, and return once all that was taken is done."""
        self._end(cancel=False)

    def close(self) -> None:
        """Take no more, let what has begun end, and drop the rest."""
        self._end(cancel=True)

    def _end(self, *, cancel: bool) -> None:
        with self._lock:
            self._is_closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(cancel_futures=cancel)

    def _done(self, future: Future[object]) -> None:
        self._places.release()
        # A call that failed is on record, and whoever needs an answer asks for himself. Any other error is a defect.
        if not future.cancelled() and (error := future.exception()) and not isinstance(error, CallError):
            log.error("errand_failed", exc_info=error)
