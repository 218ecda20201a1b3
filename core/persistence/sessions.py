"""Who is signed in. A session is one row: deleting it signs out, everywhere and at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, delete, select, update

from core.model.role import Role
from core.persistence.tables import sessions, users


@dataclass(frozen=True, slots=True)
class Session:
    """One sign-in of an active user, with the name and the role that the user has now."""

    token_hash: bytes
    user_id: UUID
    name: str
    role: Role
    last_seen_at: datetime
    expires_at: datetime


def add(
    connection: Connection,
    *,
    token_hash: bytes,
    user_id: UUID,
    now: datetime,
    expires_at: datetime,
    address: str,
) -> None:
    """Store a new session."""
    connection.execute(
        sessions.insert().values(
            token_hash=token_hash,
            user_id=user_id,
            created_at=now,
            last_seen_at=now,
            expires_at=expires_at,
            address=address,
        )
    )


def find(connection: Connection, token_hash: bytes) -> Session | None:
    """The session with that hash, if its user is still active. It may have ended by time."""
    row = connection.execute(
        select(
            sessions.c.token_hash,
            sessions.c.user_id,
            users.c.name,
            users.c.role,
            sessions.c.last_seen_at,
            sessions.c.expires_at,
        )
        .join(users, users.c.id == sessions.c.user_id)
        .where(sessions.c.token_hash == token_hash, users.c.is_active)
    ).first()
    if row is None:
        return None
    return Session(row.token_hash, row.user_id, row.name, Role(row.role), row.last_seen_at, row.expires_at)


def touch(connection: Connection, token_hash: bytes, now: datetime) -> None:
    """Note that a session was used."""
    connection.execute(update(sessions).where(sessions.c.token_hash == token_hash).values(last_seen_at=now))


def remove(connection: Connection, token_hash: bytes) -> bool:
    """End one session. False when there was none."""
    return connection.execute(delete(sessions).where(sessions.c.token_hash == token_hash)).rowcount > 0


def remove_of_user(connection: Connection, user_id: UUID) -> None:
    """End every session of a user."""
    connection.execute(delete(sessions).where(sessions.c.user_id == user_id))


def remove_ended(connection: Connection, now: datetime) -> None:
    """Forget the sessions that have reached their end."""
    connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
