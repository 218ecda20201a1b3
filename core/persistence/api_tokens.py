"""The tokens by which programs use the HTTP API. Only their hashes are stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, Row, select, update

from core.model.role import Role
from core.persistence.tables import api_tokens
from core.persistence.text import storable

_LONGEST_NAME: Final = 64


@dataclass(frozen=True, slots=True)
class ApiToken:
    """One token. `expires_at` is None for one that does not end by itself."""

    id: UUID
    name: str
    token_hash: bytes = field(repr=False)
    role: Role
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Neither revoked nor at its end."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def add(connection: Connection, token: ApiToken) -> None:
    """Store a new token. A name of more than 64 characters is cut there."""
    connection.execute(
        api_tokens.insert().values(
            id=token.id,
            name=storable(token.name, _LONGEST_NAME),
            token_hash=token.token_hash,
            role=token.role.value,
            created_at=token.created_at,
            created_by=token.created_by,
            expires_at=token.expires_at,
        )
    )


def find(connection: Connection, token_id: UUID) -> ApiToken | None:
    """The token of that id, valid or not."""
    row = connection.execute(select(api_tokens).where(api_tokens.c.id == token_id)).first()
    return None if row is None else _token(row)


def every(connection: Connection) -> list[ApiToken]:
    """All tokens, the newest first."""
    rows = connection.execute(select(api_tokens).order_by(api_tokens.c.created_at.desc(), api_tokens.c.id))
    return [_token(row) for row in rows]


def revoke(connection: Connection, token_id: UUID, now: datetime) -> bool:
    """End a token for good. False when there is none, or it was revoked before."""
    revoked = connection.execute(
        update(api_tokens)
        .where(api_tokens.c.id == token_id, api_tokens.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    return revoked.rowcount == 1


def touch(connection: Connection, token_id: UUID, now: datetime) -> None:
    """Note that a token was used."""
    connection.execute(update(api_tokens).where(api_tokens.c.id == token_id).values(last_used_at=now))


def _token(row: Row[tuple[object, ...]]) -> ApiToken:
    return ApiToken(
        id=row.id,
        name=row.name,
        token_hash=row.token_hash,
        role=Role(row.role),
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
