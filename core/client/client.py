"""The door to a call: carried out to its end, and one record left, whatever that end is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from core.client.call import Call, Route
from core.client.run import Run, Tools
from core.model.answer import IntegrationResponse
from core.model.call_record import Attempt

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Client(Tools):
    """Carries out calls. One client serves all integrations and all threads of a process."""

    def call(self, call: Call[T]) -> IntegrationResponse[T]:
        """Carry out one call to its end.

        Raises the `CallError` that says how it failed. However it ends, one record is handed over, also when
        the caller is interrupted.
        """
        run = Run(self, call)
        with self._on_record(run):
            return run.answer()

    def check(self, call: Call[T], route: Route[T]) -> Attempt:
        """Send one provider its health request, past the cache, and judge the answer; on record like any call.

        It takes its tokens and respects the circuit: an open one is reported, not asked, and on a half-open one
        the check is the probe, so that no user's call has to find out. On a closed circuit the outcome changes
        nothing: a check neither opens a circuit nor excuses the failures of calls.
        """
        run = Run(self, call)
        with self._on_record(run):
            return run.check(route)

    @contextmanager
    def _on_record(self, run: Run[T]) -> Iterator[None]:
        """However the run ends: what it was granted and never used is given back, and one record is handed over."""
        try:
            yield
        except BaseException as error:
            run.release()
            self.record(run.call_record(error))
            raise
        self.record(run.call_record(None))
