"""The HTTP API. It is mounted at `/api` beside the pages, or served by itself.

Every route declares the role it requires; one that does not, does not start.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import Depends, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.routing import Mount

from core.model.role import Role
from core.web.blocking import Blocking
from core.web.errors import answer_errors, described_errors
from core.web.guard import Guard, Requires
from core.web.health import add_health
from core.web.integrations import add_integrations
from core.web.ports import WebHub

PREFIX: Final = "/api"
"""Where the API stands beside the pages."""


class RouteWithoutRole(RuntimeError):
    """A route of the API declares no role, so nobody has decided who may use it."""


def create_api(hub: WebHub) -> FastAPI:
    """The API over one hub. Raises `RouteWithoutRole` when a route was forgotten."""
    blocking = Blocking()
    guard = Guard(hub, blocking)
    api = FastAPI(
        title="Bongsu",
        version=hub.version,
        servers=[{"url": PREFIX}],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        responses=described_errors(),
    )
    answer_errors(api)
    add_health(api, hub, guard, blocking)
    add_integrations(api, hub, guard)

    @api.get("/openapi.json", include_in_schema=False, dependencies=[Depends(guard.requires(Role.VIEWER))])
    async def openapi() -> dict[str, Any]:
        """What this API offers, for programs."""
        return api.openapi()

    refuse_routes_without_role(api)
    return api


def refuse_routes_without_role(api: FastAPI) -> None:
    """Raise `RouteWithoutRole` unless each route declares its role by `Guard.requires`."""
    for route in api.routes:
        if not isinstance(route, APIRoute) or required_role(route.dependant) is None:
            raise RouteWithoutRole(f"The route {getattr(route, 'path', route)} declares no role.")


def required_role(dependant: Dependant) -> Role | None:
    """The role that a route declares, at whatever depth; None when it declares none."""
    for dependency in dependant.dependencies:
        if isinstance(dependency.call, Requires):
            return dependency.call.role
        role = required_role(dependency)
        if role is not None:
            return role
    return None


def mounted(api: FastAPI) -> Mount:
    """The API under `/api`. Whoever mounts it enters `api.router.lifespan_context(api)` themselves."""
    return Mount(PREFIX, app=api)
