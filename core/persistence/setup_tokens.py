"""The one-time tokens that make the first administrator."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, exists, func, select, update

from core.persistence.tables import setup_tokens, users

_SETUP_LOCK: Final = 0x626F_6E67_7375  # any number will do, as long as nobody else locks it


def take_turns(connection: Connection) -> None:
    """Let other processes wait until this transaction ends. SQLite's writers take turns by themselves."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_SETUP_LOCK)))


def replace(connection: Connection, *, token_hash: bytes, now: datetime, expires_at: datetime) -> None:
    """Store a new token; older ones that were not used can no longer be."""
    connection.execute(delete(setup_tokens).where(setup_tokens.c.used_at.is_(None)))
    connection.execute(
        setup_tokens.insert().values(token_hash=token_hash, created_at=now, expires_at=expires_at)
    )


def use(connection: Connection, token_hash: bytes, now: datetime) -> bool:
    """Use a token up. False when it is unknown, used or too old, or when a user exists already."""
    used = connection.execute(
        update(setup_tokens)
        .where(
            setup_tokens.c.token_hash == token_hash,
            setup_tokens.c.used_at.is_(None),
            setup_tokens.c.expires_at > now,
            ~exists(select(users.c.id)),
        )
        .values(used_at=now)
    )
    return used.rowcount == 1
