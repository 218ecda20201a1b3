"""What the web asks of the hub."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from core.access.access import Access
from core.clock import Clock
from core.config.integration import IntegrationConfig
from core.model.health import HealthCheck
from core.model.overview import IntegrationOverview
from core.redaction import Redactor
from core.settings import Settings


class WebHub(Protocol):
    """The part of `core.hub.Hub` that the web process and the dashboard need."""

    @property
    def settings(self) -> Settings: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def access(self) -> Access: ...

    @property
    def version(self) -> str: ...

    @property
    def redactor(self) -> Redactor: ...

    @property
    def configs(self) -> Mapping[str, IntegrationConfig]:
        """How each registered integration is configured."""

    @property
    def state_degraded_since(self) -> datetime | None:
        """Since when this process could not reach the shared state, as far as it has tried; None when it can."""

    def overview(self, last_minutes: int = 60) -> list[IntegrationOverview]:
        """Every registered integration, with the totals of that many minutes."""

    def check_now(self, name: str, *, by: str) -> HealthCheck:
        """Check one integration at once, and store what came of it."""

    def health_history(self, name: str, limit: int) -> list[HealthCheck]:
        """The latest checks of one integration, the newest first."""

    def close(self) -> None:
        """Let go of everything, at the end of the process."""
