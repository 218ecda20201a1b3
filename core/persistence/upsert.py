"""INSERT … ON CONFLICT, which SQLAlchemy spells once for each kind of database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_new(connection: Connection, table: Table, row: Mapping[str, object]) -> bool:
    """Insert `row` unless a unique key of the table forbids it. Whether it was inserted.

    Of several transactions that insert the same, exactly one is told True: the others wait for it to end.
    """
    statement = _insert(connection, table).values(row).on_conflict_do_nothing()
    return connection.execute(statement.returning(*table.primary_key)).first() is not None


def insert_or_replace(connection: Connection, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Insert each row; where its primary key is there already, its other columns take the place of the old."""
    if not rows:
        return
    statement = _insert(connection, table)
    kept = {column.name for column in table.primary_key}
    changes = {column.name: column for column in statement.excluded if column.name not in kept}
    connection.execute(
        statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=changes), rows
    )


def _insert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)
