"""How things are named: trace ids that follow one call everywhere, and sequence numbers for its record."""

from __future__ import annotations

import contextvars
import itertools
import os
import secrets
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_current: contextvars.ContextVar[str | None] = contextvars.ContextVar("bongsu_trace_id", default=None)

_WORKER_BITS = 10
_COUNTER_BITS = 12
_COUNTER_MASK = (1 << _COUNTER_BITS) - 1


class _TraceIds:
    """64 bits drawn once a process, 64 that count: an id a call costs a quarter of what drawing each would."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Draw, and begin to count: at first, and in the child of a fork."""
        self._prefix = os.urandom(8).hex()
        self._counter = itertools.count(secrets.randbits(32) + 1)

    def next(self) -> str:
        return f"{self._prefix}{next(self._counter):016x}"


_trace_ids = _TraceIds()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_trace_ids.begin)


def new_trace_id() -> str:
    """32 lower-case hexadecimal digits, as the W3C trace context has them. Nobody else has the same one."""
    return _trace_ids.next()


def current_trace_id() -> str:
    """The trace id of the call in progress, or a new one."""
    return _current.get() or new_trace_id()


class tracing:  # noqa: N801 -- it reads as a word: `with tracing(trace_id):`.
    """Everything inside belongs to `trace_id`: also tasks that begin there, and what `asyncio.to_thread` runs.

    Other threads do not, unless what they run is `carried`; another process has to be given the id.
    """

    __slots__ = ("_token", "_trace_id")

    def __init__(self, trace_id: str) -> None:
        self._trace_id = trace_id

    def __enter__(self) -> str:
        self._token = _current.set(self._trace_id)
        return self._trace_id

    def __exit__(self, *_: object) -> None:
        # A coroutine that is closed from elsewhere ends in another context, where there is nothing to put back.
        with suppress(ValueError):
            _current.reset(self._token)


def carried(function: Callable[P, T]) -> Callable[P, T]:
    """`function`, made to belong to the trace id of now, whichever thread runs it, and however often."""
    trace_id = current_trace_id()

    @wraps(function)
    def belonging(*args: P.args, **kwargs: P.kwargs) -> T:
        with tracing(trace_id):
            return function(*args, **kwargs)

    return belonging


class Sequence:
    """Numbers for record ids: 10 bits drawn once per process, 12 bits that count.

    Two records of one process never share a number within the same millisecond unless 4,096 are made in it.
    A fork draws again.
    """

    def __init__(self) -> None:
        self._counter = itertools.count()
        self._worker = 0
        self._draw()
        if hasattr(os, "register_at_fork"):
            drawing = weakref.WeakMethod(self._draw)
            os.register_at_fork(after_in_child=lambda: (draw := drawing()) and draw())

    def next(self) -> int:
        return self._worker | (next(self._counter) & _COUNTER_MASK)

    def _draw(self) -> None:
        self._worker = secrets.randbits(_WORKER_BITS) << _COUNTER_BITS
