"""The connection to the database: SQLite in the data directory, or PostgreSQL.

Everything stored is read inside `reading()` and changed inside `writing()`. Both hand out a connection with a
transaction that is committed at the end, or rolled back when anything is raised. On SQLite a writing
transaction takes the write lock at its start and waits for it, since one that only finds out half-way that it
has to write cannot wait any more ("database is locked", at once).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import orjson
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry

from core.errors import DatabaseDamaged, DatabaseUnreachable, DataDirectoryUnusable, StorageError
from core.settings import Settings

_WRITES: Final = "bongsu_writes"
_BUSY_MS: Final = 10_000
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class Database:
    """One engine for the whole process. Threads may share it; a forked child makes its own."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @staticmethod
    def open(settings: Settings) -> Database:
        """The database that the settings name. Nothing is connected before the first use.

        Raises `DataDirectoryUnusable` when the embedded database has nowhere to be.
        """
        if settings.database_url is not None:
            return Database.at(settings.database_url.get_secret_value())
        prepare_directory(settings.data_dir)
        prepare_file(settings.database_file)
        return Database.at(f"sqlite:///{settings.database_file}")

    @staticmethod
    def at(url: str) -> Database:
        """The database at a SQLAlchemy address."""
        if url.startswith("sqlite"):
            engine = create_engine(url, json_serializer=_json, json_deserializer=orjson.loads)
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        else:
            engine = create_engine(
                url,
                json_serializer=_json,
                json_deserializer=orjson.loads,
                pool_pre_ping=True,
                connect_args={"connect_timeout": 5, "options": "-c timezone=UTC"},
            )
        return Database(engine)

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @property
    def where(self) -> str:
        """The address for people, without the password."""
        return self.engine.url.render_as_string(hide_password=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection whose transaction sees one state of the database.

        Raises `DatabaseUnreachable` when the database cannot be used, or can be no longer: it does not answer,
        its disk is full, others hold it locked for too long, all connections are in use. Raises
        `DatabaseDamaged` when an embedded database is no database.
        """
        with self._connection() as connection:
            # PostgreSQL would look anew at each statement. The level travels with BEGIN and costs no round trip.
            reader = (
                connection
                if self.is_sqlite
                else connection.execution_options(isolation_level="REPEATABLE READ")
            )
            with reader.begin():
                yield reader

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection whose transaction may change the database.

        Raises what `reading` raises. Whether the change was made is not known when that comes
        from the end of the transaction.
        """
        with self._connection() as connection:
            writer = connection.execution_options(**{_WRITES: True})
            with writer.begin():
                yield writer

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        # The driver's own error comes from work that goes past SQLAlchemy, such as COPY.
        driver = self.engine.dialect.loaded_dbapi
        connection = None
        try:
            with self.engine.connect() as connection:
                yield connection
        except (DatabaseError, driver.DatabaseError) as error:
            original = error.orig if isinstance(error, DBAPIError) else error
            wrong_questions = (driver.IntegrityError, driver.DataError, driver.ProgrammingError)
            if connection is not None and isinstance(original, wrong_questions):
                raise
            raise self._fault(original) from error
        except PoolTimeoutError as error:
            raise DatabaseUnreachable(self.where, "all connections are in use") from error

    def _fault(self, error: BaseException | None) -> StorageError:
        """Our own error for one of the driver's."""
        if isinstance(error, sqlite3.DatabaseError) and _primary_code(error) in _DAMAGED:
            return DatabaseDamaged(str(self.engine.url.database))
        return DatabaseUnreachable(self.where, str(error).strip().split("\n", maxsplit=1)[0])


def prepare_directory(path: Path) -> None:
    """Make the data directory, readable by its owner alone. Raises `DataDirectoryUnusable`."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DataDirectoryUnusable(str(path), error.strerror or str(error)) from error


def prepare_file(path: Path) -> None:
    """Make the embedded database, empty and readable by its owner alone; one that exists stays as it is.

    SQLite gives the files beside it the rights of this one. Raises `DataDirectoryUnusable`.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise DataDirectoryUnusable(str(path.parent), f"{path.name}: {error.strerror}") from error


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _primary_code(error: sqlite3.DatabaseError) -> int:
    """The kind of fault; SQLite tells the finer points in the bits above the lowest eight."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _prepare_sqlite(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    # The driver's own idea of when to begin a transaction is switched off; `_begin_sqlite` does it.
    connection.isolation_level = None
    for pragma in (
        "auto_vacuum = INCREMENTAL",  # holds only when set before the first table
        "journal_mode = WAL",
        "synchronous = NORMAL",
        f"busy_timeout = {_BUSY_MS}",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
