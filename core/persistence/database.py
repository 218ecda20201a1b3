"""The connection to the database: SQLite in the data directory, or PostgreSQL.

Everything stored is read inside `reading()` and changed inside `writing()`. Both hand out a connection with a
transaction that is committed at the end, or rolled back when anything is raised. On SQLite a writing
transaction takes the write lock at its start and waits for it, since one that only finds out half-way that it
has to write cannot wait any more ("database is locked", at once).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import Final

import orjson
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from core.errors import DatabaseUnreachable, DataDirectoryUnusable
from core.settings import Settings

_WRITES: Final = "bongsu_writes"
_BUSY_MS: Final = 10_000


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
        its disk is full, others hold it locked for too long.
        """
        with self._connection() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection whose transaction may change the database.

        Raises `DatabaseUnreachable` as `reading` does. Whether the change was made is not known when that comes
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
        try:
            with self.engine.connect() as connection:
                yield connection
        except (OperationalError, self.engine.dialect.loaded_dbapi.OperationalError) as error:
            raise DatabaseUnreachable(self.where, _first_line(error)) from error


def prepare_directory(path: Path) -> None:
    """Make the data directory, readable by its owner alone. Raises `DataDirectoryUnusable`."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DataDirectoryUnusable(str(path), error.strerror or str(error)) from error


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _first_line(error: Exception) -> str:
    reason = error.orig if isinstance(error, OperationalError) else error
    return str(reason).strip().split("\n", maxsplit=1)[0]


def _prepare_sqlite(connection: SqliteConnection, _entry: ConnectionPoolEntry) -> None:
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
