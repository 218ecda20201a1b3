"""The roles that routes require. A route that declares none does not start (`core.web.api`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from core.model.role import Role
from core.web.blocking import Blocking
from core.web.cookies import Cookies
from core.web.origin import SAFE_METHODS, address_of, is_from_our_page
from core.web.ports import WebHub

_BEARER: Final = HTTPBearer(
    auto_error=False,
    scheme_name="API token",
    description="A token from `bongsu token create`. A person who is signed in needs none in the same browser.",
)
"""Tells programs in the description of the API how to show a token; what is shown, `Guard` judges."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is asking: a person who is signed in, or a program with a token."""

    name: str
    role: Role
    is_program: bool


class Guard:
    """Finds out who is asking. A request with a token is judged by its token alone, whatever cookies it has."""

    def __init__(self, hub: WebHub, blocking: Blocking) -> None:
        self._hub = hub
        self._blocking = blocking
        self._cookies = Cookies(hub.settings, hub.access.keyring)

    def requires(self, role: Role) -> Requires:
        """The dependency by which a route declares its role."""
        return Requires(self, role)

    async def identity(self, request: Request) -> Identity | None:
        """Who is asking; None for nobody we know."""
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme:
            return await self._program(secret.strip()) if scheme.lower() == "bearer" else None
        if request.method not in SAFE_METHODS and not is_from_our_page(request.headers, self._hub.settings):
            return None
        return await self._person(self._cookies.session(request.headers))

    async def note_refusal(self, identity: Identity, request: Request) -> None:
        """Put on record that a role did not allow a route."""
        path, address = request.scope["path"], address_of(request.scope, self._hub.settings)
        note = self._hub.access.note_refusal
        await self._blocking(lambda: note(identity.name, f"call {request.method}", path, address=address))

    async def _program(self, secret: str) -> Identity | None:
        caller = await self._blocking(lambda: self._hub.access.api_token(secret))
        return None if caller is None else Identity(caller.name, caller.role, is_program=True)

    async def _person(self, token: str) -> Identity | None:
        if not token:
            return None
        signed_in = await self._blocking(lambda: self._hub.access.session(token))
        return None if signed_in is None else Identity(signed_in.name, signed_in.role, is_program=False)


class Requires:
    """Lets a request through when its identity has the role; else 401 or 403."""

    def __init__(self, guard: Guard, role: Role) -> None:
        self._guard = guard
        self.role = role

    async def __call__(
        self,
        request: Request,
        _shown: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)] = None,
    ) -> Identity:
        identity = await self._guard.identity(request)
        if identity is None:
            raise HTTPException(401)
        if not identity.role.allows(self.role):
            await self._guard.note_refusal(identity, request)
            raise HTTPException(403)
        return identity
