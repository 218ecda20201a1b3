"""The trail that changes and refusals leave in the audit log."""

from __future__ import annotations

from typing import Final

from uuid_utils.compat import uuid7

from core.clock import Clock
from core.persistence import audit
from core.persistence.audit import AuditEntry, Transaction

NOBODY: Final = "(unknown)"
"""The actor of whoever did not give a name we know: what was typed instead may be a password."""


class Trail:
    """Writes audit rows inside the transaction that they are about."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def allowed(
        self,
        transaction: Transaction,
        actor: str,
        action: str,
        subject: str,
        *,
        address: str = "",
        **details: str,
    ) -> None:
        """Note that something was done."""
        self._append(transaction, actor, action, subject, address=address, details=details, is_allowed=True)

    def refused(
        self,
        transaction: Transaction,
        actor: str,
        action: str,
        subject: str,
        *,
        address: str = "",
        **details: str,
    ) -> None:
        """Note that something was tried and not allowed."""
        self._append(transaction, actor, action, subject, address=address, details=details, is_allowed=False)

    def _append(
        self,
        transaction: Transaction,
        actor: str,
        action: str,
        subject: str,
        *,
        address: str,
        details: dict[str, str],
        is_allowed: bool,
    ) -> None:
        audit.append(
            transaction,
            AuditEntry(
                id=uuid7(),
                created_at=self._clock.now(),
                actor=actor,
                action=action,
                subject=subject,
                is_allowed=is_allowed,
                details=details,
                address=address or None,
            ),
        )
