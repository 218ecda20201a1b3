"""Who did what, and what was refused. Rows are only ever added, in the transaction of the change itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias
from uuid import UUID

from sqlalchemy import Connection, select

from core.persistence.tables import audit_log
from core.persistence.text import storable

Transaction: TypeAlias = Connection
"""An open transaction, as rooms above call it that pass one on and never look inside."""


_LONGEST_NAME: Final = 64
_LONGEST_SUBJECT: Final = 255


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act. `action` is a verb phrase (`sign in`, `create user`), `subject` what it was done to.

    `details` holds no secret: before and after are masked by whoever writes the entry.
    """

    id: UUID
    created_at: datetime
    actor: str
    action: str
    subject: str
    is_allowed: bool
    details: Mapping[str, str]
    address: str | None = None


def append(connection: Connection, entry: AuditEntry) -> None:
    """Add an entry. When this fails the change fails with it."""
    connection.execute(
        audit_log.insert().values(
            id=entry.id,
            created_at=entry.created_at,
            actor=storable(entry.actor, _LONGEST_NAME),
            action=storable(entry.action, _LONGEST_NAME),
            subject=storable(entry.subject, _LONGEST_SUBJECT),
            is_allowed=entry.is_allowed,
            details={storable(name): storable(value) for name, value in entry.details.items()},
            address=storable(entry.address, _LONGEST_NAME),
        )
    )


def latest(connection: Connection, limit: int) -> list[AuditEntry]:
    """The newest entries, newest first."""
    rows = connection.execute(
        select(audit_log).order_by(audit_log.c.created_at.desc(), audit_log.c.id.desc()).limit(limit)
    )
    return [
        AuditEntry(
            row.id,
            row.created_at,
            row.actor,
            row.action,
            row.subject,
            row.is_allowed,
            row.details,
            row.address,
        )
        for row in rows
    ]
