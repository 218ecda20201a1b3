"""Which revision a database is at, and bringing it to the one that this version needs.

The revisions stand in the `migrations` package and are carried out by Alembic, which is imported only when there
is something to do. A migration is one transaction on either database, so a process that dies in the middle of
one leaves nothing behind; and it is made under a lock, so that of several processes that start at once one
migrates while the others wait and then find nothing to do.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, column, inspect, select, table, text

from core.errors import DatabaseAhead, DatabaseBehind
from core.persistence.database import Database

if TYPE_CHECKING:
    from alembic.config import Config

HEAD: Final = "0002"
"""The newest revision: what this version of the code needs."""

BASE: Final = "base"
"""Before the first revision: a database without tables."""

_LOCK: Final = 0x626F6E67737500  # "bongsu": an advisory lock of PostgreSQL is named by a number
_version = table("alembic_version", column("version_num"))


def current(database: Database) -> str | None:
    """The revision that the database is at, None when it never was migrated. Raises `DatabaseUnreachable`."""
    with database.reading() as connection:
        return _revision(connection)


def require(database: Database) -> None:
    """Do nothing when the database is at `HEAD`.

    Raises `DatabaseBehind` when it is older, `DatabaseAhead` when this version does not know its revision, and
    `DatabaseUnreachable`.
    """
    found = current(database)
    if found == HEAD:
        return
    _refuse_unknown(found)
    raise DatabaseBehind(found, HEAD)


def upgrade(database: Database, revision: str = HEAD) -> None:
    """Bring the database up to `revision`, with whatever it holds. At that revision already: nothing happens.

    Raises `DatabaseAhead` when this version does not know the database's revision.
    """
    if current(database) == revision:
        return
    from alembic import command

    with _migrating(database) as config:
        command.upgrade(config, revision)


def downgrade(database: Database, revision: str) -> None:
    """Take the database back to `revision`; at `BASE` no table is left. What the tables held is lost.

    Raises `DatabaseAhead` when this version does not know the database's revision.
    """
    from alembic import command

    with _migrating(database) as config:
        command.downgrade(config, revision)
        if revision == BASE:
            connection: Connection = config.attributes["connection"]
            connection.exec_driver_sql("DROP TABLE IF EXISTS alembic_version")


def alembic_config() -> Config:
    """Alembic's own configuration. No file holds any of it, and none of it touches logging."""
    from alembic.config import Config

    spec = importlib.util.find_spec("migrations")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "The package `migrations` is missing: install Bongsu again.", name="migrations"
        )
    config = Config()
    config.set_main_option("script_location", spec.submodule_search_locations[0].replace("%", "%%"))
    return config


@contextmanager
def _migrating(database: Database) -> Iterator[Config]:
    """One transaction that no other migration runs beside. SQLite's own write lock is that already."""
    with database.writing() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        _refuse_unknown(_revision(connection))
        config = alembic_config()
        config.attributes["connection"] = connection
        yield config


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_version.name):
        return None
    return connection.execute(select(_version.c.version_num)).scalar_one_or_none()


def _refuse_unknown(found: str | None) -> None:
    if found is not None and found not in _known():
        raise DatabaseAhead(found)


def _known() -> frozenset[str]:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(alembic_config())
    return frozenset(script.revision for script in scripts.walk_revisions())
