"""GET /v1/integrations: which integrations there are and what they are."""

from __future__ import annotations

from fastapi import Depends, FastAPI
from pydantic import BaseModel

from core.model.overview import IntegrationOverview
from core.model.role import Role
from core.web.blocking import Blocking
from core.web.guard import Guard
from core.web.ports import WebHub


class IntegrationOut(BaseModel):
    """One integration and its providers, in the order in which they are asked."""

    name: str
    title: str
    type: str
    is_enabled: bool
    is_mock_mode: bool
    providers: list[str]


def add_integrations(api: FastAPI, hub: WebHub, guard: Guard, blocking: Blocking) -> None:
    """Give `api` the routes of this resource."""

    @api.get("/v1/integrations", dependencies=[Depends(guard.requires(Role.VIEWER))])
    async def integrations() -> list[IntegrationOut]:
        """Every registered integration."""
        return [_integration(one) for one in await blocking(hub.overview)]


def _integration(one: IntegrationOverview) -> IntegrationOut:
    return IntegrationOut(
        name=one.name,
        title=one.title,
        type=one.type,
        is_enabled=one.is_enabled,
        is_mock_mode=one.is_mock_mode,
        providers=[circuit.provider for circuit in one.circuits],
    )
