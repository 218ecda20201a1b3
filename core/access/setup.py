"""The first administrator: made once, by whoever holds the token that the start printed."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from core.access import tokens
from core.access.people import People
from core.access.trail import NOBODY, Trail
from core.clock import Clock
from core.errors import AccessRefused
from core.model.role import Role
from core.persistence import setup_tokens, users
from core.persistence.database import Database

TOKEN_LIFETIME: Final = timedelta(hours=1)
_REFUSED: Final = "This set-up link is not valid. Start Bongsu again to get a new one."


class Setup:
    """Hands out the one-time token, and takes it."""

    def __init__(self, database: Database, clock: Clock, people: People, trail: Trail) -> None:
        self._database = database
        self._clock = clock
        self._people = people
        self._trail = trail

    def is_needed(self) -> bool:
        """Whether there is no user yet."""
        with self._database.reading() as transaction:
            return not users.exist(transaction)

    def new_token(self) -> str:
        """A token for one hour; tokens made before end. Raises `AccessRefused` once there is a user."""
        token = tokens.new_token()
        now = self._clock.now()
        with self._database.writing() as transaction:
            setup_tokens.take_turns(transaction)
            is_needed = not users.exist(transaction)
            if is_needed:
                setup_tokens.replace(
                    transaction, token_hash=tokens.hash_of(token), now=now, expires_at=now + TOKEN_LIFETIME
                )
        if not is_needed:
            raise AccessRefused("Bongsu is set up already. Sign in instead.")
        return token

    def complete(self, token: str, name: str, password: str, *, address: str = "") -> None:
        """Make the first administrator. Raises `AccessRefused`; unfit names and passwords use no token up."""
        admin = self._people.draft(name, password, Role.ADMIN)
        with self._database.writing() as transaction:
            setup_tokens.take_turns(transaction)
            is_valid = setup_tokens.use(transaction, tokens.hash_of(token), self._clock.now())
            if is_valid:
                self._people.add(transaction, admin, by=admin.name)
            note = self._trail.allowed if is_valid else self._trail.refused
            note(
                transaction,
                admin.name if is_valid else NOBODY,
                "set up",
                "first administrator",
                address=address,
            )
        if not is_valid:
            raise AccessRefused(_REFUSED)
