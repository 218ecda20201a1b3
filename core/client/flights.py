"""Single flight: of the calls of one process that want the same answer at once, one fetches it and all share its end."""

from __future__ import annotations

from concurrent.futures import Future
from threading import RLock
from typing import Generic, NamedTuple, TypeVar

from core.client.fork import begin_in_child
from core.errors import CallError
from core.model.answer import IntegrationResponse

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Blame(NamedTuple):
    """The error that a call ended with, or that a stale answer stands in for."""

    kind: str
    text: str
    is_callers_own: bool


class Landed(NamedTuple, Generic[T_co]):
    """How the call ended that fetched: with an answer, with an error, or (neither) interrupted, for whatever reason.

    `blame` is what its answer stands in for, if it does.
    """

    answer: IntegrationResponse[T_co] | None = None
    error: CallError | None = None
    blame: Blame | None = None


class _Flight(Generic[T]):
    """One call that fetches, for `leader`. `future` is there once somebody waits for it."""

    __slots__ = ("future", "leader")

    def __init__(self, leader: object) -> None:
        self.leader = leader
        self.future: Future[Landed[T]] | None = None


class Flights(Generic[T]):
    """The flights of one process, by the key of what they fetch. Threads and event loops may share it.

    The lock may be taken again by whoever holds it: an abandoned call may be collected, and land, inside.
    """

    def __init__(self) -> None:
        self.begin()
        begin_in_child(self)

    def begin(self) -> None:
        """Begin without a flight: at first, and in the child of a fork."""
        self._lock = RLock()
        self._flights: dict[str, _Flight[T]] = {}

    def join(self, key: str, caller: object) -> Future[Landed[T]] | None:
        """What the call that fetches `key` will land with; None when there is none, and `caller` now leads."""
        flight = _Flight[T](caller)
        with self._lock:
            flying = self._flights.setdefault(key, flight)
            if flying is flight:
                return None
            if flying.future is None:
                flying.future = Future()
            return flying.future

    def is_under_way(self, key: str) -> bool:
        """Whether somebody fetches `key` just now."""
        return key in self._flights

    def land(
        self,
        key: str,
        leader: object,
        answer: IntegrationResponse[T] | None = None,
        error: CallError | None = None,
        blame: Blame | None = None,
    ) -> None:
        """Tell all who wait how the flight of `leader` ended. Nothing, if it does not lead (any more)."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is None or flight.leader is not leader:
                return
            del self._flights[key]
        if flight.future is not None:
            flight.future.set_result(Landed(answer, error, blame))
