"""Tokens for programs: `bongsu_<id>_<secret><checksum>`.

The prefix and the checksum let scanners find a leaked one; the id finds its row; the secret is compared by hash.
"""

from __future__ import annotations

import hmac
import re
import secrets
import zlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

from core.access import tokens
from core.access.trail import Trail
from core.clock import Clock
from core.errors import AccessRefused
from core.model.role import Role
from core.persistence import api_tokens
from core.persistence.api_tokens import ApiToken
from core.persistence.database import Database

PREFIX: Final = "bongsu"
NOTE_USE_EVERY: Final = timedelta(minutes=1)
_FORM: Final = re.compile(rf"{PREFIX}_([0-9a-f]{{32}})_([0-9a-f]{{64}})([0-9a-f]{{8}})")


@dataclass(frozen=True, slots=True)
class Caller:
    """A program that showed a valid token."""

    token_id: UUID
    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class NewApiToken:
    """A token just made. `secret` is shown this once."""

    id: UUID
    secret: str = field(repr=False)


def compose(token_id: UUID) -> str:
    """A new token for a row with that id."""
    body = f"{PREFIX}_{token_id.hex}_{secrets.token_hex(32)}"
    return body + _checksum(body)


def id_of(secret: str) -> UUID | None:
    """The row that a token belongs to; None when it cannot be one of ours."""
    match = _FORM.fullmatch(secret)
    if match is None or _checksum(secret[:-8]) != match[3]:
        return None
    return UUID(match[1])


class ApiTokens:
    """Makes and ends tokens, and finds out which program is calling."""

    def __init__(self, database: Database, clock: Clock, trail: Trail) -> None:
        self._database = database
        self._clock = clock
        self._trail = trail

    def every(self) -> list[ApiToken]:
        """All tokens, ended ones too, the newest first."""
        with self._database.reading() as transaction:
            return api_tokens.every(transaction)

    def create(self, name: str, role: Role, *, by: str, expires: datetime | None) -> NewApiToken:
        """A new token; `expires` is None for one that lasts until it is revoked."""
        token_id = uuid7()
        secret = compose(token_id)
        token = ApiToken(token_id, name, tokens.hash_of(secret), role, self._clock.now(), by, expires)
        with self._database.writing() as transaction:
            api_tokens.add(transaction, token)
            until = "revoked" if expires is None else expires.isoformat()
            self._trail.allowed(
                transaction, by, "create API token", name, id=str(token_id), role=role.value, until=until
            )
        return NewApiToken(token_id, secret)

    def revoke(self, token_id: UUID, *, by: str) -> None:
        """End a token at once. Raises `AccessRefused` when there is none, or it was revoked before."""
        with self._database.writing() as transaction:
            is_revoked = api_tokens.revoke(transaction, token_id, self._clock.now())
            note = self._trail.allowed if is_revoked else self._trail.refused
            note(transaction, by, "revoke API token", str(token_id))
        if not is_revoked:
            raise AccessRefused("There is no such API token, or it was revoked before.")

    def caller(self, secret: str) -> Caller | None:
        """Who holds this token; None when it is unknown, revoked or at its end."""
        token = self._find(secret)
        if token is None:
            return None
        now = self._clock.now()
        if token.last_used_at is None or now - token.last_used_at >= NOTE_USE_EVERY:
            with self._database.writing() as transaction:
                api_tokens.touch(transaction, token.id, now)
        return Caller(token.id, token.name, token.role)

    def _find(self, secret: str) -> ApiToken | None:
        token_id = id_of(secret)
        if token_id is None:
            return None
        with self._database.reading() as transaction:
            token = api_tokens.find(transaction, token_id)
        if token is None or not token.is_valid(self._clock.now()):
            return None
        return token if hmac.compare_digest(token.token_hash, tokens.hash_of(secret)) else None


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"
