"""The store of one machine: a SQLite file of its own that all processes share, without a server.

Every decision is one `BEGIN IMMEDIATE … COMMIT`, so processes take turns. A process has one connection, used
under a lock: its threads then take turns without SQLite's polling. A forked child makes its own.

Circuits and limits live by the machine's monotonic time, which all its processes share and nobody can set. It
starts again when the machine does, which looks like a clock set back; the rules allow for that. Cached values
expire by the wall clock.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from weakref import WeakSet

from core.clock import Clock
from core.errors import StorageError
from core.policies.admission import (
    Admission,
    AdmissionPolicy,
    Granted,
    ProviderState,
    Settlement,
    admit,
    settle,
)
from core.policies.circuit_breaker import CircuitBreaker
from core.state.base import Settled, Snapshot
from core.state.pattern import literal_prefix, matcher

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BUSY_MS = 5000
_TURNS = 500
_TURN_SECONDS = 0.01
_WRITES_BETWEEN_TRIMS = 64
_UNKNOWN = ProviderState()

_SCHEMA = """
CREATE TABLE IF NOT EXISTS circuits (
    circuit TEXT PRIMARY KEY,
    failures INTEGER NOT NULL,
    opened_at INTEGER,
    probe_until INTEGER,
    generation INTEGER NOT NULL,
    minute_full_at INTEGER NOT NULL,
    hour_full_at INTEGER NOT NULL,
    paused_at INTEGER NOT NULL,
    paused_until INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (
    key TEXT NOT NULL UNIQUE,
    expires_at INTEGER NOT NULL,
    size INTEGER NOT NULL,
    value BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS entries_by_expiry ON entries (expires_at, size);
"""
_LOAD = """
SELECT failures, opened_at, probe_until, generation, minute_full_at, hour_full_at, paused_at, paused_until
FROM circuits WHERE circuit = ?
"""
_SAVE = "INSERT OR REPLACE INTO circuits VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_READ = "SELECT value FROM entries WHERE key = ? AND expires_at > ?"
_WRITE = "INSERT OR REPLACE INTO entries (key, expires_at, size, value) VALUES (?, ?, ?, ?)"
_SWEEP = "DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries WHERE expires_at <= ? LIMIT 20)"
_MEASURE = "SELECT count(*), coalesce(sum(size), 0) FROM entries"
_TRIM = "DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries ORDER BY expires_at LIMIT ?)"
_DELETE = "DELETE FROM entries WHERE key = ? RETURNING expires_at"
_KEYS_FROM = "SELECT key FROM entries WHERE key >= ? ORDER BY key"


class SqliteState:
    """Shared state of the processes of one machine, in the file `path`.

    Keeps about `max_entries` cached values of about `max_bytes` in sum; beyond, those that would expire first
    give way. Raises `StorageError` when the file cannot be used.
    """

    def __init__(
        self, path: Path, clock: Clock, *, max_entries: int = 20_000, max_bytes: int = 256 * 1024 * 1024
    ) -> None:
        self._path = path
        self._clock = clock
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._abandoned: list[sqlite3.Connection] = []
        self._writes = 0
        _open_stores.add(self)

    def admit(self, circuit: str, policy: AdmissionPolicy, max_wait_us: int) -> Admission:
        with self._writing() as connection:
            before = _load(connection, circuit)
            after, admission = admit(before, policy, self._now(), max_wait_us)
            if after is not before:
                _save(connection, circuit, after)
        return admission

    def settle(
        self,
        circuit: str,
        policy: AdmissionPolicy,
        granted: Granted,
        settlement: Settlement,
        *,
        pause_us: int = 0,
    ) -> Settled:
        with self._writing() as connection:
            before = _load(connection, circuit)
            after = settle(before, policy, granted, settlement, self._now(), pause_us=pause_us)
            if after is not before:
                _save(connection, circuit, after)
        return Settled.between(before, after)

    def peek(self, circuit: str) -> Snapshot:
        with self._using() as connection:
            return Snapshot(_load(connection, circuit), self._now())

    def read(self, key: str) -> bytes | None:
        with self._using() as connection:
            row = connection.execute(_READ, (key, self._wall())).fetchone()
            return None if row is None else bytes(row[0])

    def write(self, key: str, value: bytes, keep_seconds: float) -> None:
        with self._writing() as connection:
            now = self._wall()
            connection.execute(_WRITE, (key, now + round(keep_seconds * 1e6), len(value), value))
            connection.execute(_SWEEP, (now,))
            if self._writes % _WRITES_BETWEEN_TRIMS == 0:
                self._trim(connection)
            self._writes += 1

    def delete(self, key: str) -> bool:
        with self._writing() as connection:
            row = connection.execute(_DELETE, (key,)).fetchone()
            return row is not None and row[0] > self._wall()

    def delete_pattern(self, pattern: str) -> int:
        with self._writing() as connection:
            now = self._wall()
            keys = list(_matching(connection, pattern))
            deleted = [connection.execute(_DELETE, (key,)).fetchone() for key in keys]
            return sum(expires_at > now for (expires_at,) in deleted)

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    def _trim(self, connection: sqlite3.Connection) -> None:
        count, size = connection.execute(_MEASURE).fetchone()
        while count > self._max_entries or (size > self._max_bytes and count):
            excess = max(count - self._max_entries, count // 10, 1)
            connection.execute(_TRIM, (excess,))
            count, size = connection.execute(_MEASURE).fetchone()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._using() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.execute("COMMIT")

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = _connect_in_turn(self._path, self._clock)
                yield self._connection
            except sqlite3.Error as error:
                # The file may have been replaced under us: the next use looks at it afresh.
                self._disconnect()
                raise StorageError(
                    f"The shared state in {self._path} cannot be used: {error}. Check the disk and who may write "
                    "there; if the file is damaged, stop Bongsu and delete it, for it holds nothing that lasts."
                ) from error

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _start_child(self) -> None:
        """After a fork: the parent's connection is neither used nor closed here, since it shares its locks."""
        self._lock = Lock()
        if self._connection is not None:
            self._abandoned.append(self._connection)
            self._connection = None

    def _now(self) -> int:
        return round(self._clock.monotonic() * 1e6)

    def _wall(self) -> int:
        return (self._clock.now() - _EPOCH) // timedelta(microseconds=1)


_open_stores: WeakSet[SqliteState] = WeakSet()


def _start_children() -> None:
    for store in list(_open_stores):
        store._start_child()  # noqa: SLF001 -- the same file.


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_children)


def _connect_in_turn(path: Path, clock: Clock) -> sqlite3.Connection:
    """A connection, once no other process is just making the file: SQLite does not wait for that by itself."""
    for _ in range(_TURNS):
        try:
            return _connect(path)
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY:
                raise
        clock.sleep(_TURN_SECONDS)
    return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    """A connection to the file, which is made readable for its owner alone if it is not there yet."""
    with _refusal_as_sqlite_error():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_SCHEMA)
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


@contextmanager
def _refusal_as_sqlite_error() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise sqlite3.OperationalError(error.strerror) from error


def _load(connection: sqlite3.Connection, circuit: str) -> ProviderState:
    row = connection.execute(_LOAD, (circuit,)).fetchone()
    if row is None:
        return _UNKNOWN
    failures, opened_at, probe_until, generation, *rest = row
    return ProviderState(CircuitBreaker(failures, opened_at, probe_until, generation), *rest)


def _save(connection: sqlite3.Connection, circuit: str, state: ProviderState) -> None:
    breaker = state.breaker
    connection.execute(
        _SAVE,
        (
            circuit,
            breaker.failures,
            breaker.opened_at,
            breaker.probe_until,
            breaker.generation,
            state.minute_full_at,
            state.hour_full_at,
            state.paused_at,
            state.paused_until,
        ),
    )


def _matching(connection: sqlite3.Connection, pattern: str) -> Iterator[str]:
    prefix = literal_prefix(pattern)
    matches = matcher(pattern).fullmatch
    with closing(connection.execute(_KEYS_FROM, (prefix,))) as rows:
        for (key,) in rows:
            if not key.startswith(prefix):
                return
            if matches(key):
                yield key
