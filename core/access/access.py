"""The one face of sign-in, users, sessions, API tokens and the first set-up.

Every change and every refusal leaves an audit row in the transaction of the change. Having no users never means
"open": until the first administrator is made, the set-up page is all there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from core.access import tokens
from core.access.api_tokens import ApiTokens, Caller, NewApiToken
from core.access.passwords import Passwords
from core.access.people import People
from core.access.sessions import Sessions, SignedIn
from core.access.setup import Setup
from core.access.sign_in import SignIn
from core.access.trail import Trail
from core.clock import Clock
from core.crypto import Keyring
from core.model.role import Role
from core.persistence import sessions as stored_sessions
from core.persistence.api_tokens import ApiToken
from core.persistence.database import Database
from core.persistence.users import User
from core.settings import Settings


class Access:
    """Who may come in, and as what. Threads may share it; nothing is cached, so a revocation holds at once."""

    def __init__(self, database: Database, clock: Clock, settings: Settings, keyring: Keyring) -> None:
        self.keyring = keyring
        self._database = database
        self._trail = Trail(clock)
        passwords = Passwords()
        self._sessions = Sessions(database, clock, settings)
        self._people = People(database, clock, passwords, self._trail)
        self._setup = Setup(database, clock, self._people, self._trail)
        self._sign_in = SignIn(database, clock, self._sessions, passwords, self._trail)
        self._api_tokens = ApiTokens(database, clock, self._trail)

    def sign_in(self, name: str, password: str, address: str) -> str:
        """The token of a new session. Raises `AccessRefused`, with the same words whatever the reason."""
        return self._sign_in.sign_in(name, password, address)

    def session(self, token: str) -> SignedIn | None:
        """Who holds this session token. Asking counts as use."""
        return self._sessions.by_token(token)

    def session_by_sid(self, sid: str, *, counts_as_use: bool) -> SignedIn | None:
        """Whose session this is, if it is still alive."""
        return self._sessions.by_sid(sid, counts_as_use=counts_as_use)

    def sign_out(self, token: str) -> None:
        """End a session at once, in every tab and process. Ending none is no error."""
        signed_in = self._sessions.by_token(token)
        with self._database.writing() as transaction:
            stored_sessions.remove(transaction, tokens.hash_of(token))
            if signed_in is not None:
                self._trail.allowed(transaction, signed_in.name, "sign out", signed_in.name)

    def users(self) -> list[User]:
        """All users by name."""
        return self._people.every()

    def create_user(self, name: str, password: str, role: Role, *, by: str) -> User:
        """A new user. Raises `AccessRefused` when the name is taken or unfit, or the password is weak."""
        return self._people.create(name, password, role, by=by)

    def set_password(self, name: str, password: str, *, by: str) -> None:
        """Replace a password and end the user's sessions. Raises `AccessRefused`."""
        self._people.set_password(name, password, by=by)

    def set_role(self, name: str, role: Role, *, by: str) -> None:
        """Replace a role and end the user's sessions. Raises `AccessRefused`, also for the last administrator."""
        self._people.set_role(name, role, by=by)

    def set_active(self, name: str, *, is_active: bool, by: str) -> None:
        """Let a user in again, or no longer. Raises `AccessRefused`, also for the last administrator."""
        self._people.set_active(name, is_active=is_active, by=by)

    def needs_setup(self) -> bool:
        """Whether there is no user yet."""
        return self._setup.is_needed()

    def new_setup_token(self) -> str:
        """A one-time token for one hour; earlier ones end. Raises `AccessRefused` once there is a user."""
        return self._setup.new_token()

    def complete_setup(self, token: str, name: str, password: str, *, address: str = "") -> None:
        """Make the first administrator. Raises `AccessRefused`."""
        self._setup.complete(token, name, password, address=address)

    def api_tokens(self) -> list[ApiToken]:
        """All API tokens, ended ones too, the newest first."""
        return self._api_tokens.every()

    def create_api_token(
        self, name: str, role: Role, *, by: str, expires: datetime | None = None
    ) -> NewApiToken:
        """A new API token, whose secret is shown this once."""
        return self._api_tokens.create(name, role, by=by, expires=expires)

    def api_token(self, secret: str) -> Caller | None:
        """Which program shows this secret; None when it is unknown, revoked or at its end."""
        return self._api_tokens.caller(secret)

    def revoke_api_token(self, token_id: UUID, *, by: str) -> None:
        """End an API token at once. Raises `AccessRefused` when there is none, or it was revoked before."""
        self._api_tokens.revoke(token_id, by=by)

    def note(self, actor: str, action: str, subject: str, details: Mapping[str, str] | None = None) -> None:
        """Put on record that something was done elsewhere, such as a check by hand."""
        with self._database.writing() as transaction:
            self._trail.allowed(transaction, actor, action, subject, **(details or {}))

    def note_refusal(self, actor: str, action: str, subject: str, *, address: str = "") -> None:
        """Put a refusal on record that was decided elsewhere, such as a role that does not allow a route."""
        with self._database.writing() as transaction:
            self._trail.refused(transaction, actor, action, subject, address=address)
