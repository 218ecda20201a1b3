"""GET /v1/integrations: which integrations there are and what they are."""

from __future__ import annotations

from typing import Final

from fastapi import Depends, FastAPI
from pydantic import BaseModel

from core.config.integration import IntegrationConfig
from core.config.templates import TEMPLATES
from core.model.role import Role
from core.web.guard import Guard
from core.web.ports import WebHub

_TITLES: Final = {template.name: template.title for template in TEMPLATES}


class IntegrationOut(BaseModel):
    """One integration and its providers, in the order in which they are asked."""

    name: str
    title: str
    type: str
    is_enabled: bool
    is_mock_mode: bool
    providers: list[str]


def add_integrations(api: FastAPI, hub: WebHub, guard: Guard) -> None:
    """Give `api` the routes of this resource."""

    @api.get("/v1/integrations", dependencies=[Depends(guard.requires(Role.VIEWER))])
    async def integrations() -> list[IntegrationOut]:
        """Every registered integration."""
        return [_integration(config) for config in hub.configs.values()]


def _integration(config: IntegrationConfig) -> IntegrationOut:
    return IntegrationOut(
        name=config.integration_name,
        title=_TITLES[config.integration_name],
        type=config.integration_type.value,
        is_enabled=config.is_enabled,
        is_mock_mode=config.is_mock_mode,
        providers=[provider.name for provider in config.configured_providers],
    )
