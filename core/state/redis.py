"""The store of any number of machines: Redis or Valkey, where each decision is one Lua script in one flight.

Time is the server's own, so machines whose clocks differ agree. Kept answers are plain keys that the server forgets
by itself; they travel beside the scripts and never through them.

A server that is away is found out fast: no connection within 45 ms, no answer within 45 ms, and nothing is tried twice.
What that means for a call is for `core.state.guarded` to decide.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from core.clock import Clock
from core.policies.admission import AdmissionPolicy, Ask
from core.policies.override import Override, OverrideMode
from core.state import redis_answers as answers
from core.state import redis_commands as commands
from core.state.base import Ended, Late, Opening, Settled, Snapshot, Wanted, to_give_back
from core.state.behind import Behind
from core.state.redis_answers import Reply
from core.state.redis_commands import Word
from core.state.redis_link import PATIENCE_SECONDS, RedisLink

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class RedisState:
    """Shared state of all machines that use the server at `url`.

    With a `clock`, circuits, limits and leases live by that instead of the server's time. `patience` is how many
    seconds a connection may take, and an answer. Raises `StorageError` when the server cannot be used, or answers what
    cannot be understood.
    """

    def __init__(self, url: str, clock: Clock | None = None, *, patience: float = PATIENCE_SECONDS) -> None:
        self._clock = clock
        self._policies = commands.Policies()
        self._link = RedisLink(url, patience)
        self._behind = Behind(self._do, name="bongsu-redis")

    def open(self, circuit: str, policy: AdmissionPolicy, ask: Ask, wanted: Wanted | None = None) -> Opening:
        packed = self._policies.packed(policy)
        return answers.opening(self._link.say(*commands.to_open(packed, circuit, ask, wanted, self._now())))

    async def aopen(
        self, circuit: str, policy: AdmissionPolicy, ask: Ask, wanted: Wanted | None = None
    ) -> Opening:
        """`open`. What is granted is given back when the answer is there, if nobody waits for it any more.

        That is so when the task was cancelled meanwhile, or the coroutine closed.
        """
        packed = self._policies.packed(policy)
        said = commands.to_open(packed, circuit, ask, wanted, self._now())
        asking = asyncio.create_task(self._link.asay(*said))
        try:
            replies = await asyncio.shield(asking)
        except BaseException:
            if asking.done():  # then the loop may be at its end, and calls nothing back.
                self._give_back(circuit, policy, wanted, asking)
            else:
                asking.add_done_callback(partial(self._give_back, circuit, policy, wanted))
            raise
        return answers.opening(replies)

    def settle(self, circuit: str, policy: AdmissionPolicy, ended: Ended) -> Settled:
        said = commands.to_settle(self._policies.packed(policy), circuit, ended, self._now())
        return answers.settled(self._link.say(said), policy)

    async def asettle(self, circuit: str, policy: AdmissionPolicy, ended: Ended) -> Settled:
        said = commands.to_settle(self._policies.packed(policy), circuit, ended, self._now())
        return answers.settled(await self._link.asay(said), policy)

    def later(self, late: Late) -> None:
        self._behind.put(late)

    def _give_back(
        self,
        circuit: str,
        policy: AdmissionPolicy,
        wanted: Wanted | None,
        asking: asyncio.Task[list[Reply]],
    ) -> None:
        if asking.cancelled() or asking.exception():
            return
        for late in to_give_back(circuit, policy, wanted, answers.opening(asking.result())):
            self.later(late)

    def flush(self) -> None:
        self._behind.flush()

    def peek(self, circuit: str) -> Snapshot:
        replies = self._link.say(*commands.to_peek(circuit))
        return answers.peeked(replies, _microseconds(self._clock) if self._clock else None)

    def steer(
        self, circuit: str, mode: OverrideMode | None, *, seconds: float = 0, by: str = "", reason: str = ""
    ) -> Snapshot:
        override = Override(mode, round(seconds * 1e6), by, reason) if mode else None
        return answers.steered(self._link.say(commands.to_steer(circuit, override, self._now())))

    def read(self, key: str) -> bytes | None:
        (reply,) = self._link.say(commands.to_read(key.encode()))
        return answers.body(reply)

    def write(self, key: str, value: bytes, keep_seconds: float, fresh_seconds: float = 0) -> None:
        self._link.say(*commands.to_write(key.encode(), value, keep_seconds, fresh_seconds))

    def delete(self, key: str) -> bool:
        return answers.forgotten(self._link.say(*commands.to_delete(key.encode()))) > 0

    def delete_pattern(self, pattern: str) -> int:
        """Forget every key that matches, a few at a time, so that the server goes on serving others.

        What is written meanwhile may or may not be forgotten.
        """
        deleted, cursor = 0, commands.FIRST
        while True:
            cursor, found = answers.scanned(self._link.say(commands.to_scan(cursor, pattern)))
            if found:
                deleted += answers.forgotten(
                    self._link.say(*commands.to_delete(*map(commands.key_at, found)))
                )
            if cursor == commands.FIRST:
                return deleted

    def close(self) -> None:
        self._behind.close()
        self._link.close()

    def _do(self, batch: Sequence[Late]) -> None:
        now = self._now()
        self._link.say(*(said for late in batch for said in commands.to_do(late, self._policies, now)))

    def _now(self) -> Word:
        """What scripts are told of the time: nothing, when they ask the server for it."""
        return _microseconds(self._clock) if self._clock else b""


def _microseconds(clock: Clock) -> int:
    return (clock.now() - _EPOCH) // timedelta(microseconds=1)
