"""Failed sign-ins, counted for the throttle. A subject is an account or an address, kept as its hash alone."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, delete, func, select

from core.persistence.tables import sign_in_failures


def take_turns(connection: Connection, subject_hash: bytes) -> None:
    """Let others wait who count the same subject. SQLite's writers take turns by themselves."""
    if connection.dialect.name == "postgresql":
        lock = int.from_bytes(subject_hash[:8], signed=True)
        connection.execute(select(func.pg_advisory_xact_lock(lock)))


def times(connection: Connection, subject_hash: bytes, since: datetime) -> list[datetime]:
    """When the subject failed, oldest first."""
    return list(
        connection.execute(
            select(sign_in_failures.c.failed_at)
            .where(sign_in_failures.c.subject_hash == subject_hash, sign_in_failures.c.failed_at > since)
            .order_by(sign_in_failures.c.failed_at)
        ).scalars()
    )


def add(connection: Connection, *, failure_id: UUID, subject_hash: bytes, at: datetime) -> None:
    """Count one failure."""
    connection.execute(
        sign_in_failures.insert().values(id=failure_id, subject_hash=subject_hash, failed_at=at)
    )


def take_back(connection: Connection, failure_id: UUID) -> None:
    """Uncount one failure that turned out to be none."""
    connection.execute(delete(sign_in_failures).where(sign_in_failures.c.id == failure_id))


def forget(connection: Connection, subject_hash: bytes) -> None:
    """Uncount every failure of a subject."""
    connection.execute(delete(sign_in_failures).where(sign_in_failures.c.subject_hash == subject_hash))


def remove_before(connection: Connection, at: datetime) -> None:
    """Drop failures too old to count."""
    connection.execute(delete(sign_in_failures).where(sign_in_failures.c.failed_at <= at))
