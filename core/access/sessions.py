"""Who is signed in: a session ends when it is not used for a while, and in any case after some hours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from core.access import tokens
from core.clock import Clock
from core.model.role import Role
from core.persistence import sessions
from core.persistence.audit import Transaction
from core.persistence.database import Database
from core.settings import Settings

NOTE_USE_EVERY: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A person who is signed in, with the role of this moment. `sid` names the session and opens nothing."""

    user_id: UUID
    name: str
    role: Role
    sid: str


class Sessions:
    """Finds sessions, and ends those whose time is over."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._idle = timedelta(minutes=settings.session_idle_minutes)
        self._lifetime = timedelta(hours=settings.session_max_hours)

    def open(self, transaction: Transaction, user_id: UUID, address: str) -> str:
        """Begin a session; its token, which is stored nowhere."""
        token = tokens.new_token()
        now = self._clock.now()
        sessions.remove_ended(transaction, now)
        sessions.add(
            transaction,
            token_hash=tokens.hash_of(token),
            user_id=user_id,
            now=now,
            expires_at=now + self._lifetime,
            address=address,
        )
        return token

    def by_token(self, token: str) -> SignedIn | None:
        """Who holds this token. Asking counts as use."""
        return self._by_hash(tokens.hash_of(token), counts_as_use=True)

    def by_sid(self, sid: str, *, counts_as_use: bool) -> SignedIn | None:
        """Whose session this is, if it is still alive."""
        try:
            return self._by_hash(bytes.fromhex(sid), counts_as_use=counts_as_use)
        except ValueError:
            return None

    def _by_hash(self, token_hash: bytes, *, counts_as_use: bool) -> SignedIn | None:
        found = self._alive(token_hash)
        if found is None:
            return None
        now = self._clock.now()
        if counts_as_use and now - found.last_seen_at >= NOTE_USE_EVERY:
            with self._database.writing() as transaction:
                sessions.touch(transaction, found.token_hash, now)
        return _signed_in(found)

    def _alive(self, token_hash: bytes) -> sessions.Session | None:
        with self._database.reading() as transaction:
            found = sessions.find(transaction, token_hash)
        if found is None or not self._is_alive(found, self._clock.now()):
            return None
        return found

    def _is_alive(self, session: sessions.Session, now: datetime) -> bool:
        return now < session.expires_at and now - session.last_seen_at < self._idle


def _signed_in(session: sessions.Session) -> SignedIn:
    return SignedIn(session.user_id, session.name, session.role, session.token_hash.hex())
