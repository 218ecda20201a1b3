"""The door to a call: carried out to its end, and one record left, whatever that end is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, cast

from core.client.call import Call, Route
from core.client.drive import adrive, drive, drive_check
from core.client.ended import EndedHit, EndedRun
from core.client.run import Run, Tools
from core.model.answer import IntegrationResponse, Source
from core.model.call_record import Attempt
from core.model.identity import tracing

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Client(Tools):
    """Carries out calls. One client serves all integrations, all threads and all event loops of a process."""

    def call(self, call: Call[T]) -> IntegrationResponse[T]:
        """Carry out one call to its end.

        Raises the `CallError` that says how it failed. However it ends, one record is handed over and all that it
        held is given back, also when the caller is interrupted.
        """
        if near := self._near(call):
            return near
        run = Run(self, call, self._behind)
        try:
            with tracing(call.trace_id):
                return drive(run)
        except BaseException as error:
            run.fail(error)
            raise
        finally:
            self._end(run)

    async def acall(self, call: Call[T]) -> IntegrationResponse[T]:
        """`call`, without holding up the event loop. A task that is cancelled gives back all that it held."""
        if near := self._near(call):
            return near
        run = Run(self, call, self._behind)
        try:
            with tracing(call.trace_id):
                return await adrive(run)
        except BaseException as error:
            run.fail(error)
            raise
        finally:
            self._end(run)

    def check(self, call: Call[T], route: Route[T]) -> Attempt:
        """Send one provider its health request, past the cache, and judge the answer; on record like any call.

        It takes its tokens and respects the circuit: an open one is reported, not asked, and on a half-open one
        the check is the probe, so that no user's call has to find out. On a closed circuit the outcome changes
        nothing: a check neither opens a circuit nor excuses the failures of calls.
        """
        run = Run(self, call, self._behind)
        try:
            with tracing(call.trace_id):
                return drive_check(run, route)
        except BaseException as error:
            run.fail(error)
            raise
        finally:
            self._end(run)

    def _near(self, call: Call[T]) -> IntegrationResponse[T] | None:
        """The answer that this process remembers: no store is asked, and next to nothing done."""
        if call.cache_key is None or call.refreshes:
            return None
        near = self.cache.near(call.cache_key)
        if near is None:
            return None
        now = self.clock.monotonic()
        age_s = now - near.stored
        # The key names the question, and so the type of its answer.
        answer = IntegrationResponse(cast("T", near.value), Source.CACHE, near.provider, call.trace_id, age_s)
        self.record(EndedHit(call, self.clock, now, self.sequence.next(), near.provider, age_s))
        return answer

    def _end(self, run: Run[T]) -> None:
        try:
            run.close()
        finally:
            self.record(EndedRun(run))

    def _behind(self, call: Call[T], route: Route[T] | None) -> None:
        """Have a call made behind the caller's back: a health check of `route`, one at a time, if one is given."""
        if route is None:
            self.background.submit(lambda: self.call(call))
            return
        key, caller = f"check {route.circuit}", object()
        if self.flights.join(key, caller) is not None:
            return

        def check() -> None:
            try:
                self.check(call, route)
            finally:
                self.flights.land(key, caller)

        if not self.background.submit(check):
            self.flights.land(key, caller)
