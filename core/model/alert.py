"""What went wrong, once each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert of one rule about one integration. `status` is pending, firing, acknowledged or resolved."""

    id: UUID
    rule: str
    integration: str
    severity: str
    status: str
    message: str
    details: dict[str, str]
    fired_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    resolved_at: datetime | None
