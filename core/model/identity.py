"""How things are named: trace ids that follow one call everywhere, and sequence numbers for its record."""

from __future__ import annotations

import contextvars
import itertools
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_current: contextvars.ContextVar[str | None] = contextvars.ContextVar("bongsu_trace_id", default=None)

_WORKER_BITS = 10
_COUNTER_BITS = 12


def new_trace_id() -> str:
    """32 lower-case hexadecimal digits, as the W3C trace context has them."""
    return secrets.token_hex(16)


def current_trace_id() -> str:
    """The trace id of the call in progress, or a new one."""
    return _current.get() or new_trace_id()


@contextmanager
def tracing(trace_id: str) -> Iterator[str]:
    """Everything inside belongs to `trace_id`: also tasks that begin there, and what `asyncio.to_thread` runs.

    Other threads do not, unless what they run is `carried`; another process has to be given the id.
    """
    token = _current.set(trace_id)
    try:
        yield trace_id
    finally:
        _current.reset(token)


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
        self._process: int | None = None
        self._worker = 0

    def next(self) -> int:
        if self._process != os.getpid():
            self._process = os.getpid()
            self._worker = secrets.randbits(_WORKER_BITS)
        return (self._worker << _COUNTER_BITS) | (next(self._counter) % (1 << _COUNTER_BITS))
