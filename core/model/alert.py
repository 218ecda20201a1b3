"""What went wrong, once each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class Severity(StrEnum):
    """How bad what an alert tells of is, from bad to worse."""

    WARNING = "warning"
    CRITICAL = "critical"

    def is_worse_than(self, other: Severity) -> bool:
        return (self, other) == (Severity.CRITICAL, Severity.WARNING)


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert of one rule about one integration. `status` is pending, firing, acknowledged or resolved."""

    id: UUID
    rule: str
    integration: str
    severity: Severity
    status: str
    message: str
    details: dict[str, str]
    fired_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    resolved_at: datetime | None
