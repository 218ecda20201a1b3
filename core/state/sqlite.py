"""The store of one machine: a SQLite file of its own that all processes share, without a server.

A decision is one transaction, and processes take turns (`core.state.sqlite_file`). What changes nothing (a fresh
answer, another call that fetches it, a provider that was refused a moment ago and still is) is found out by a plain
look, which waits for nobody.

Circuits, limits and leases live by the machine's monotonic time, which all its processes share and nobody can set.
It starts again when the machine does, which looks like a clock set back; the rules allow for that. Kept values
expire by the wall clock; one from the future is none, because nobody knows how old it is once that was set back.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple, TypeVar, assert_never

from core.clock import Chance, Clock, system_chance
from core.model.calling import LONGEST_HISTORY
from core.policies.admission import (
    Admission,
    AdmissionPolicy,
    Ask,
    Granted,
    ProviderState,
    admit,
    settle,
)
from core.policies.override import Override, OverrideMode
from core.policies.rate_limit import NEVER, Bookings, History, no_history
from core.state.base import (
    Ended,
    Keep,
    Kept,
    Late,
    Opening,
    Release,
    Settle,
    Settled,
    Snapshot,
    Wanted,
    to_give_back,
)
from core.state.behind import Behind
from core.state.encoding import decode, encode
from core.state.lease import Lease
from core.state.pattern import literal_prefix, matcher
from core.state.sqlite_file import NotAtOnce, SqliteFile

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PATIENCE_SECONDS: Final = 0.5
_WORDS_AT_ONCE: Final = 50
_BYTES_AT_ONCE: Final = 1024 * 1024
_WRITES_BETWEEN_TRIMS: Final = 64
_UNTIDY_AT_MOST: Final = 1000
_UNTIDY_FOR_BYTES: Final = 1024
_LINES_REMEMBERED: Final = 1000
_LEASE_OUTLIVES_US: Final = 60_000_000

_LOAD = "SELECT state FROM circuits WHERE circuit = ?"
_SAVE = "INSERT OR REPLACE INTO circuits VALUES (?, ?)"
_LOOK = """
SELECT value, fresh_until, owner, since, until, failure
FROM (SELECT 1)
LEFT JOIN entries ON entries.key = ?1 AND entries.expires_at > ?2 AND entries.kept_at <= ?2 + 60000000
LEFT JOIN leases ON leases.key = ?1
"""
_LEND = "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?)"
_END = "DELETE FROM leases WHERE key = ? AND owner = ?"
_LEAVE_BEHIND = "UPDATE leases SET owner = ?, since = ?, until = ?, failure = ? WHERE key = ? AND owner = ?"
_SWEEP_LEASES = "DELETE FROM leases WHERE until <= ? OR since > ?"
_RECALL = "SELECT at FROM history WHERE circuit = ? AND is_reserved = ? AND slot = ?"
_REMEMBER = "INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?)"
_READ = "SELECT value FROM entries WHERE key = ?1 AND expires_at > ?2 AND kept_at <= ?2 + 60000000"
_WRITE = "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?)"
_SWEEP = "DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries WHERE expires_at <= ? LIMIT 20)"
_MEASURE = "SELECT count(*), coalesce(sum(size), 0) FROM entries"
_TRIM = "DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries ORDER BY expires_at LIMIT ?)"
_DELETE = "DELETE FROM entries WHERE key = ? RETURNING expires_at"
_KEYS_FROM = "SELECT key FROM entries WHERE key >= ? ORDER BY key"

T = TypeVar("T")


class _Tidy(NamedTuple):
    """Behind the callers' back: drop what is over, and bring the file's log back into it."""


class _Under(NamedTuple):
    """What stands under a key: the value, until when it is fresh (by the wall clock), and who fetches it."""

    kept: bytes | None
    fresh_until: int
    lease: Lease | None


@dataclass(frozen=True, slots=True)
class _Question:
    """What a call opens with."""

    circuit: str
    policy: AdmissionPolicy
    ask: Ask
    wanted: Wanted | None


class _Errand:
    """What a thread opens for a task that may be gone when it is done: then it is given back."""

    def __init__(self, begin: Callable[[], Opening], give_back: Callable[[Opening], None]) -> None:
        self._begin = begin
        self._give_back = give_back
        self._lock = Lock()
        self._opening: Opening | None = None
        self._is_abandoned = False

    def run(self) -> Opening:
        opening = self._begin()
        with self._lock:
            self._opening = opening
        if self._is_abandoned:
            self._give_back(opening)
        return opening

    def abandon(self) -> None:
        """The task is gone."""
        with self._lock:
            self._is_abandoned = self._opening is None
        if self._opening is not None and not self._is_abandoned:
            self._give_back(self._opening)


class SqliteState:
    """Shared state of the processes of one machine, in the file `path`.

    Keeps about `max_entries` cached values of about `max_bytes` in sum; beyond, those that would expire first
    give way. Raises `StorageError` when the file cannot be used, or when another process does not let go of it for
    `patience_s`.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        chance: Chance = system_chance,
        patience_s: float = _PATIENCE_SECONDS,
        max_entries: int = 20_000,
        max_bytes: int = 256 * 1024 * 1024,
    ) -> None:
        self._file = SqliteFile(path, clock, chance, patience_s)
        self._clock = clock
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._lines: dict[str, tuple[str, ProviderState]] = {}
        self._refused: set[str] = set()
        self._writes = 0
        self._untidy = 0
        self._behind: Behind[Late | _Tidy] = Behind(self._do_late, name="bongsu-sqlite", clock=clock)

    def open(self, circuit: str, policy: AdmissionPolicy, ask: Ask, wanted: Wanted | None = None) -> Opening:
        return self._open(_Question(circuit, policy, ask, wanted), may_wait=True)

    async def aopen(
        self, circuit: str, policy: AdmissionPolicy, ask: Ask, wanted: Wanted | None = None
    ) -> Opening:
        """`open`: here and now if nobody is in the way, else in a thread that waits.

        What is granted to a task that was cancelled meanwhile, or to a coroutine that was closed, is given back.
        """
        question = _Question(circuit, policy, ask, wanted)
        try:
            return self._open(question, may_wait=False)
        except NotAtOnce:
            errand = _Errand(partial(self._open, question, may_wait=True), partial(self._give_back, question))
        try:
            return await asyncio.to_thread(errand.run)
        except BaseException:
            errand.abandon()
            raise

    def settle(self, circuit: str, policy: AdmissionPolicy, ended: Ended) -> Settled:
        return self._change(partial(self._settle, circuit, policy, ended))

    async def asettle(self, circuit: str, policy: AdmissionPolicy, ended: Ended) -> Settled:
        """`settle`: here and now if nobody is in the way, else in a thread, which goes on if the task is cancelled."""
        work = partial(self._settle, circuit, policy, ended)
        try:
            return self._change(work, may_wait=False)
        except NotAtOnce:
            return await asyncio.to_thread(self._change, work)

    def later(self, late: Late) -> None:
        self._behind.put(late)

    def flush(self) -> None:
        self._behind.flush()

    def peek(self, circuit: str) -> Snapshot:
        return Snapshot(self._file.look(partial(self._load, circuit)), self._now())

    def steer(
        self, circuit: str, mode: OverrideMode | None, *, seconds: float = 0, by: str = "", reason: str = ""
    ) -> Snapshot:
        def set_it(connection: sqlite3.Connection) -> Snapshot:
            now = self._now()
            override = Override(mode, now + round(seconds * 1e6), by, reason, now) if mode else None
            after = self._load(circuit, connection)._replace(override=override)
            self._save(connection, circuit, after)
            return Snapshot(after, now)

        return self._change(set_it)

    def read(self, key: str) -> bytes | None:
        def find(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute(_READ, (key, self._wall())).fetchone()
            return None if row is None else bytes(row[0])

        return self._file.look(find)

    def write(self, key: str, value: bytes, keep_seconds: float, fresh_seconds: float = 0) -> None:
        self._change(
            lambda connection: self._write(connection, Kept(key, "", value, fresh_seconds, keep_seconds))
        )

    def delete(self, key: str) -> bool:
        def forget(connection: sqlite3.Connection) -> bool:
            row = connection.execute(_DELETE, (key,)).fetchone()
            return row is not None and row[0] > self._wall()

        return self._change(forget)

    def delete_pattern(self, pattern: str) -> int:
        def forget(connection: sqlite3.Connection) -> int:
            now = self._wall()
            keys = list(_matching(connection, pattern))
            deleted = [connection.execute(_DELETE, (key,)).fetchone() for key in keys]
            return sum(expires_at > now for (expires_at,) in deleted)

        return self._change(forget)

    def close(self) -> None:
        self._behind.close()
        self._file.close()

    def _open(self, question: _Question, *, may_wait: bool) -> Opening:
        if question.wanted is not None or question.circuit in self._refused:
            seen = self._file.look(partial(self._glance, question), may_wait=may_wait)
            if seen is not None:
                return seen
        return self._change(partial(self._decide, question), may_wait=may_wait)

    def _glance(self, question: _Question, connection: sqlite3.Connection) -> Opening | None:
        """What can be said without changing anything; None when that is too little."""
        if question.circuit not in self._refused:
            return self._from_what_is_kept(connection, question.wanted)[1]
        connection.execute("BEGIN")
        try:
            kept, opening = self._from_what_is_kept(connection, question.wanted)
            if opening is not None:
                return opening
            _, admission = self._admit(connection, question, self._now())
            return None if isinstance(admission, Granted) else Opening(kept, admission)
        finally:
            connection.execute("COMMIT")

    def _decide(self, question: _Question, connection: sqlite3.Connection) -> Opening:
        kept, opening = self._from_what_is_kept(connection, question.wanted)
        if opening is not None:
            return opening
        now = self._now()
        circuit, wanted = question.circuit, question.wanted
        after, admission = self._admit(connection, question, now)
        if not isinstance(admission, Granted):
            self._refused.add(circuit)
            return Opening(kept, admission)
        self._refused.discard(circuit)
        if after is not None:
            self._save(connection, circuit, after)
            if _is_exact(question.policy):
                _remember(connection, circuit, after.booked, admission, now)
        if wanted is not None:
            owner, since, until, failure = Lease.of(wanted, admission, now)
            connection.execute(_LEND, (wanted.key, owner, since, until, failure))
        return Opening(kept, admission)

    def _from_what_is_kept(
        self, connection: sqlite3.Connection, wanted: Wanted | None
    ) -> tuple[bytes | None, Opening | None]:
        """The wanted answer, if it is kept, and what comes of the call if that alone decides it."""
        if wanted is None:
            return None, None
        wall = self._wall()
        value, fresh_until, *lease = connection.execute(_LOOK, (wanted.key, wall)).fetchone()
        if value is not None and wall < fresh_until and not wanted.refreshes:
            return value, Opening(value, None)
        elsewhere = None if lease[0] is None else Lease(*lease).stops(wanted, self._now())
        return value, None if elsewhere is None else Opening(value, elsewhere)

    def _admit(
        self, connection: sqlite3.Connection, question: _Question, now: int
    ) -> tuple[ProviderState | None, Admission]:
        """The state after, if there is anything to save, and what is decided."""
        before = self._load(question.circuit, connection)
        is_exact = _is_exact(question.policy)
        history = _history(connection, question.circuit, before.booked) if is_exact else no_history
        after, admission = admit(before, question.policy, question.ask, now, history)
        return None if after is before or after == before else after, admission

    def _settle(
        self, circuit: str, policy: AdmissionPolicy, ended: Ended, connection: sqlite3.Connection
    ) -> Settled:
        before = self._load(circuit, connection)
        after = settle(
            before,
            policy,
            ended.granted,
            ended.settlement,
            self._now(),
            pause_us=ended.pause_us,
            is_slow=ended.is_slow,
        )
        if after is not before:
            self._save(connection, circuit, after)
        return Settled.between(before, after, policy)

    def _give_back(self, question: _Question, opening: Opening) -> None:
        """Nobody is there any more to use what was granted."""
        for late in to_give_back(question.circuit, question.policy, question.wanted, opening):
            self.later(late)

    def _do_late(self, batch: Sequence[Late | _Tidy]) -> None:
        """Do what was told later: a transaction is short, so that nobody waits long for its end."""
        words: list[Settle | Kept | Release] = []
        size = 0
        for late in batch:
            if isinstance(late, _Tidy):
                self._change(self._sweep_leases)
                self._file.bring_back_the_log()
                continue
            word = late.packed() if isinstance(late, Keep) else late
            words.append(word)
            size += len(word.value) if isinstance(word, Kept) else 0
            if len(words) >= _WORDS_AT_ONCE or size >= _BYTES_AT_ONCE:
                self._change(partial(self._do_all, tuple(words)))
                words.clear()
                size = 0
        if words:
            self._change(partial(self._do_all, tuple(words)))

    def _do_all(self, words: Sequence[Settle | Kept | Release], connection: sqlite3.Connection) -> None:
        for late in words:
            match late:
                case Settle(circuit, policy, ended):
                    self._settle(circuit, policy, ended, connection)
                case Kept(key, owner):
                    self._write(connection, late)
                    connection.execute(_END, (key, owner))
                case Release(key, owner):
                    if left_behind := Lease.after(late, self._now()):
                        connection.execute(_LEAVE_BEHIND, (*left_behind, key, owner))
                    else:
                        connection.execute(_END, (key, owner))
                case _:
                    assert_never(late)

    def _change(self, work: Callable[[sqlite3.Connection], T], *, may_wait: bool = True) -> T:
        result = self._file.change(work, may_wait=may_wait)
        self._untidy += 1
        if self._untidy >= _UNTIDY_AT_MOST:
            self._untidy = 0
            self._behind.put(_Tidy())
        return result

    def _load(self, circuit: str, connection: sqlite3.Connection) -> ProviderState:
        row = connection.execute(_LOAD, (circuit,)).fetchone()
        if row is None:
            return ProviderState()
        line = row[0]
        remembered = self._lines.get(circuit)
        # A process mostly finds what it has written itself.
        if remembered is not None and remembered[0] == line:
            return remembered[1]
        return decode(line)

    def _save(self, connection: sqlite3.Connection, circuit: str, state: ProviderState) -> None:
        line = encode(state)
        connection.execute(_SAVE, (circuit, line))
        if len(self._lines) >= _LINES_REMEMBERED:
            self._lines.clear()
        self._lines[circuit] = line, state

    def _write(self, connection: sqlite3.Connection, keep: Kept) -> None:
        now = self._wall()
        fresh_until = now + round(keep.fresh_seconds * 1e6)
        expires_at = now + round(keep.keep_seconds * 1e6)
        connection.execute(_WRITE, (keep.key, now, fresh_until, expires_at, len(keep.value), keep.value))
        connection.execute(_SWEEP, (now,))
        self._untidy += len(keep.value) // _UNTIDY_FOR_BYTES
        if self._writes % _WRITES_BETWEEN_TRIMS == 0:
            self._trim(connection)
        self._writes += 1

    def _trim(self, connection: sqlite3.Connection) -> None:
        count, size = connection.execute(_MEASURE).fetchone()
        while count > self._max_entries or (size > self._max_bytes and count):
            excess = max(count - self._max_entries, count // 10, 1)
            connection.execute(_TRIM, (excess,))
            count, size = connection.execute(_MEASURE).fetchone()

    def _sweep_leases(self, connection: sqlite3.Connection) -> None:
        # A lease that has ended is not gone at once: its owner may yet leave its failure to those who wait.
        now = self._now()
        connection.execute(_SWEEP_LEASES, (now - _LEASE_OUTLIVES_US, now))

    def _now(self) -> int:
        return round(self._clock.monotonic() * 1e6)

    def _wall(self) -> int:
        return (self._clock.now() - _EPOCH) // timedelta(microseconds=1)


def _is_exact(policy: AdmissionPolicy) -> bool:
    return policy.limits is not None and policy.limits.limiter.is_exact


def _history(connection: sqlite3.Connection, circuit: str, booked: Bookings) -> History:
    """When the last calls of a circuit went: a ring for each share, in which the count of all calls is the place."""

    def went_at(back: int, is_reserved: bool) -> int:
        admitted = booked.reserved_admitted if is_reserved else booked.admitted
        if back > admitted:
            return NEVER
        slot = (admitted - back) % LONGEST_HISTORY
        row = connection.execute(_RECALL, (circuit, is_reserved, slot)).fetchone()
        return NEVER if row is None else int(row[0])

    return went_at


def _remember(
    connection: sqlite3.Connection, circuit: str, booked: Bookings, granted: Granted, now: int
) -> None:
    admitted = booked.reserved_admitted if granted.is_reserved else booked.admitted
    slot = (admitted - 1) % LONGEST_HISTORY
    connection.execute(_REMEMBER, (circuit, granted.is_reserved, slot, now + granted.wait_us))


def _matching(connection: sqlite3.Connection, pattern: str) -> Iterator[str]:
    prefix = literal_prefix(pattern)
    matches = matcher(pattern).fullmatch
    with closing(connection.execute(_KEYS_FROM, (prefix,))) as rows:
        for (key,) in rows:
            if not key.startswith(prefix):
                return
            if matches(key):
                yield key
