"""The file that the processes of one machine share: who may use it, in which turn, and how it begins.

A process has one connection, used under a lock, so that its threads queue instead of polling. A forked child makes
its own. Processes poll for their turn to write, every few ten microseconds and each by its own chance: SQLite's own
waiting sleeps ever longer, so that among eight busy processes the unluckiest waits for more than a second.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import RLock
from typing import Final, TypeVar
from weakref import WeakSet

from core.clock import Chance, Clock
from core.errors import StorageError

_TURNS: Final = 50
_SHORT_WAIT_SECONDS: Final = 0.00004
_SHORT_WAITS: Final = 1500
_LONG_WAIT_SECONDS: Final = 0.0005
_WAIT_TO_CONNECT_SECONDS: Final = 0.01

_PAGE_BYTES: Final = 1024
_LONG_LOG_PAGES: Final = 16_000
_LONGEST_LOG_PAGES: Final = 64_000
_BUSY_MS: Final = 5
_CODE: Final = 0xFF
"""The part of an error's code that says what it is; the rest says where."""

_VERSION: Final = 3
_TABLES: Final = """
CREATE TABLE circuits (circuit TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE history (
    circuit TEXT NOT NULL,
    is_reserved INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (circuit, is_reserved, slot)
) WITHOUT ROWID;
CREATE TABLE leases (
    key TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    failure BLOB
) WITHOUT ROWID;
CREATE TABLE entries (
    key TEXT NOT NULL UNIQUE,
    kept_at INTEGER NOT NULL,
    fresh_until INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    size INTEGER NOT NULL,
    value BLOB NOT NULL
);
CREATE INDEX entries_by_expiry ON entries (expires_at, size)
"""

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


class NotAtOnce(Exception):
    """Who may not wait would have had to."""


class SqliteFile:
    """The file `path`, used by the threads of this process and by other processes, each in its turn.

    Raises `StorageError` when it cannot be used, or when another process does not let go of it for `patience_s`.
    """

    def __init__(self, path: Path, clock: Clock, chance: Chance, patience_s: float) -> None:
        self._path = path
        self._clock = clock
        self._chance = chance
        self._patience_s = patience_s
        # Reentrant, because only such a lock knows whose it is (`_use`).
        self._lock = RLock()
        self._connection: sqlite3.Connection | None = None
        self._abandoned: list[sqlite3.Connection] = []
        _open_files.add(self)

    def look(self, work: Work[T], *, may_wait: bool = True) -> T:
        """What `work` reads. It waits for nobody who writes.

        Raises `NotAtOnce` when it cannot be done at once and may not wait.
        """
        return self._use(lambda connection: self._in_turn(lambda: work(connection), may_wait), may_wait)

    def change(self, work: Work[T], *, may_wait: bool = True) -> T:
        """What comes of `work`, which may write: all of it or nothing, and nobody else meanwhile.

        Raises `NotAtOnce` when it cannot be done at once and may not wait.
        """

        def in_one_step(connection: sqlite3.Connection) -> T:
            try:
                self._in_turn(lambda: connection.execute("BEGIN IMMEDIATE"), may_wait)
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.rollback()
                raise
            return result

        return self._use(in_one_step, may_wait)

    def bring_back_the_log(self) -> None:
        """Move what was written from the log into the file, on a connection of its own: it waits for the disk.

        Nobody who decides meanwhile is held up, unless the log has grown long because there was never a pause.
        """
        try:
            with closing(sqlite3.connect(self._path, timeout=0, isolation_level=None)) as own:
                _, pages, _ = own.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                if pages > _LONG_LOG_PAGES:
                    own.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
                    own.execute("PRAGMA wal_checkpoint(RESTART)")
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        """Let go of the file. Whoever uses it again takes it up again."""
        with self._lock:
            self._disconnect()

    def _use(self, work: Work[T], may_wait: bool) -> T:
        """What `work` makes of this process's connection, which is for one thread at a time."""
        lock = self._lock
        try:
            # In here, because an interrupt may come at the very moment when the lock was taken.
            if not (lock.acquire(timeout=self._patience_s) if may_wait else lock.acquire(blocking=False)):
                if may_wait:
                    raise StorageError(
                        f"The shared state in {self._path} is taken by another thread for too long."
                    )
                raise NotAtOnce
            if self._connection is None:
                if not may_wait:
                    raise NotAtOnce
                self._connection = self._connect_in_turn()
            return work(self._connection)
        except sqlite3.Error as error:
            # The file may have been replaced under us: the next use looks at it afresh.
            self._disconnect()
            raise self._unusable(error) from error
        finally:
            try:  # noqa: SIM105 -- a call more would be one more moment for an interrupt.
                lock.release()
            except RuntimeError:
                pass  # it was never ours.

    def _connect_in_turn(self) -> sqlite3.Connection:
        """A connection, once no other process is just making the file."""
        until = self._clock.monotonic() + self._patience_s
        while True:
            try:
                return _connect(self._path)
            except sqlite3.OperationalError as error:
                if not _is_busy(error):
                    raise
                if self._clock.monotonic() >= until:
                    raise self._not_let_go() from error
            self._clock.sleep(_WAIT_TO_CONNECT_SECONDS)

    def _in_turn(self, begin: Callable[[], T], may_wait: bool) -> T:
        """What `begin` gives, as soon as no other process is in its way."""
        waits, until = 0, 0.0
        while True:
            try:
                return begin()
            except sqlite3.OperationalError as error:
                if not _is_busy(error):
                    raise
                busy = error
            if not may_wait:
                raise NotAtOnce
            if not waits:
                until = self._clock.monotonic() + self._patience_s
            elif waits >= _TURNS and self._clock.monotonic() >= until:
                raise self._not_let_go() from busy
            wait = _SHORT_WAIT_SECONDS if waits < _SHORT_WAITS else _LONG_WAIT_SECONDS
            self._clock.sleep(wait * (0.5 + self._chance()))
            waits += 1

    def _not_let_go(self) -> StorageError:
        return StorageError(f"The shared state in {self._path} is not let go of by another process.")

    def _unusable(self, error: sqlite3.Error) -> StorageError:
        return StorageError(
            f"The shared state in {self._path} cannot be used: {error}. Check the disk and who may write "
            "there; if the file is damaged, stop Bongsu and delete it, for it holds nothing that lasts."
        )

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _start_child(self) -> None:
        """After a fork: the parent's connection is neither used nor closed here, since it shares its locks."""
        self._lock = RLock()
        if self._connection is not None:
            self._abandoned.append(self._connection)
            self._connection = None


_open_files: WeakSet[SqliteFile] = WeakSet()


def _start_children() -> None:
    for file in list(_open_files):
        file._start_child()  # noqa: SLF001 -- the same file.


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_children)


def _is_busy(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and code & _CODE == sqlite3.SQLITE_BUSY


def _connect(path: Path) -> sqlite3.Connection:
    """A connection to the file, which is made readable for its owner alone if it is not there yet."""
    with _refusal_as_sqlite_error():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        # A safety net: the log is brought back behind, and only where that does not happen on the way of a call.
        connection.execute(f"PRAGMA wal_autocheckpoint = {_LONGEST_LOG_PAGES}")
        _make_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_tables(connection: sqlite3.Connection) -> None:
    """Have this version's tables in the file: those of an earlier one hold nothing that lasts, and are dropped."""
    if _version(connection) == _VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    found = _version(connection)
    if found > _VERSION:
        raise sqlite3.OperationalError("a newer version of Bongsu uses it")
    if found < _VERSION:
        old = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in old:
            connection.execute(f'DROP TABLE "{table}"')
        for statement in _TABLES.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {_VERSION}")
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


@contextmanager
def _refusal_as_sqlite_error() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise sqlite3.OperationalError(error.strerror) from error
