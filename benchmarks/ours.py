"""This project's side of the comparison: a client with all that the product has, around a third party that is trivial.

A call leaves its record as always: the recorder's thread makes and redacts it, writes its line, counts it into a
latency histogram, and then forgets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from benchmarks import parties
from benchmarks.parties import Trivial
from core.clock import Clock, SystemClock
from core.errors import CallFailed, CircuitOpen
from core.metrics.histogram import LatencyHistogram
from core.model.answer import IntegrationResponse
from core.model.call_record import CallRecord
from core.policies.policy import CallPolicy
from core.state.base import StateStore
from core.telemetry import lines
from core.telemetry.recorder import Recorder
from core.transports.base import Transport

Refused = CircuitOpen
"""What an open circuit raises."""

Failed = CallFailed
"""What a third party that fails makes a call raise."""

_LAST_RECORD_S: Final = 60


class Ours:
    """One client with one operation of one provider, and the recorder that its calls end in."""

    def __init__(
        self,
        transport: Transport,
        *,
        policy: CallPolicy | None = None,
        state: StateStore | None = None,
        clock: Clock | None = None,
        provider: Trivial | None = None,
    ) -> None:
        self._histogram = LatencyHistogram.of([]).pack()
        self._recorder = Recorder(self._count, SystemClock(), tell=lines.tell)
        self._client = parties.client(self._recorder.put, state, clock)
        self._operation = parties.trivial_operation(transport, policy or parties.trivial_policy(), provider)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.state.close()
        self._recorder.close()

    def call(self, word: str) -> IntegrationResponse[str]:
        return self._client.call(parties.trivial_call(self._operation, word))

    async def acall(self, word: str) -> IntegrationResponse[str]:
        return await self._client.acall(parties.trivial_call(self._operation, word))

    def settle(self) -> None:
        """Wait until everything is done that calls leave to other threads. Raises when a record was lost."""
        self._client.state.flush()
        self._recorder.flush(_LAST_RECORD_S)
        stats = self._recorder.stats
        if stats.dropped or stats.refused:
            raise RuntimeError(f"Records were lost, and so not paid for: {stats}")

    def _count(self, records: Sequence[CallRecord]) -> None:
        """Where records go: into the histogram of their durations, and nowhere else."""
        newest = LatencyHistogram.of([record.duration_ms for record in records])
        self._histogram = LatencyHistogram.merge_packed([self._histogram, newest.pack()]).pack()
