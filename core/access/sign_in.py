"""Signing in by name and password, slowed down after failures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

from core.access import names, throttle
from core.access.passwords import Passwords
from core.access.sessions import Sessions
from core.access.throttle import Throttle
from core.access.trail import NOBODY, Trail
from core.clock import Clock
from core.errors import AccessRefused
from core.persistence import sign_in_failures, users
from core.persistence.audit import Transaction
from core.persistence.database import Database
from core.persistence.users import User

_ACTION: Final = "sign in"
_REFUSED: Final = (
    "The name or the password is wrong, or there were too many tries. Wait a little, then try again."
)


@dataclass(frozen=True, slots=True)
class _Try:
    """One try that the throttle let through, counted as failed until the password proves right."""

    user: User | None
    account: bytes
    address_failure: UUID


class SignIn:
    """Turns a right name and password into the token of a new session."""

    def __init__(
        self, database: Database, clock: Clock, sessions: Sessions, passwords: Passwords, trail: Trail
    ) -> None:
        self._database = database
        self._clock = clock
        self._sessions = sessions
        self._passwords = passwords
        self._trail = trail

    def sign_in(self, name: str, password: str, address: str) -> str:
        """The token of a new session. Raises `AccessRefused`, with the same words whatever the reason."""
        with self._database.writing() as transaction:
            attempt = self._begin(transaction, names.normal(name), address)
        if attempt is None:
            raise AccessRefused(_REFUSED)
        user = attempt.user
        is_right = self._passwords.check(user.password_hash if user else None, password)
        token = self._finish(attempt, user, password, address) if user is not None and is_right else None
        if token is None:
            with self._database.writing() as transaction:
                self._refuse(transaction, user, address, reason="wrong name or password")
            raise AccessRefused(_REFUSED)
        return token

    def _begin(self, transaction: Transaction, name: str | None, address: str) -> _Try | None:
        # A try counts as failed before it is checked: many at the same moment must not all slip through.
        user = None if name is None else users.by_name(transaction, name)
        account = throttle.account(name)
        subjects = ((account, throttle.OF_ACCOUNT), (throttle.address(address), throttle.OF_ADDRESS))
        sign_in_failures.remove_before(transaction, self._clock.now() - throttle.MEMORY)
        if any(self._must_wait(transaction, subject, rule) for subject, rule in subjects):
            self._refuse(transaction, user, address, reason="too many tries")
            return None
        _, address_failure = [self._count(transaction, subject) for subject, _ in subjects]
        return _Try(user, account, address_failure)

    def _must_wait(self, transaction: Transaction, subject: bytes, rule: Throttle) -> bool:
        sign_in_failures.take_turns(transaction, subject)
        now = self._clock.now()
        failures = sign_in_failures.times(transaction, subject, now - throttle.MEMORY)
        return bool(rule.wait_left(failures, now))

    def _count(self, transaction: Transaction, subject: bytes) -> UUID:
        failure_id = uuid7()
        sign_in_failures.add(transaction, failure_id=failure_id, subject_hash=subject, at=self._clock.now())
        return failure_id

    def _refuse(self, transaction: Transaction, user: User | None, address: str, *, reason: str) -> None:
        name = NOBODY if user is None else user.name
        self._trail.refused(transaction, name, _ACTION, name, address=address, reason=reason)

    def _finish(self, attempt: _Try, user: User, password: str, address: str) -> str | None:
        needs_rehash = self._passwords.needs_rehash(user.password_hash)
        rehashed = self._passwords.hash(password) if needs_rehash else user.password_hash
        with self._database.writing() as transaction:
            now = users.by_name(transaction, user.name)
            # Checking took a while: meanwhile the password may have been changed, or the user switched off.
            if now is None or not now.is_active or now.password_hash != user.password_hash:
                return None
            sign_in_failures.forget(transaction, attempt.account)
            sign_in_failures.take_back(transaction, attempt.address_failure)
            users.set_password(transaction, user.id, rehashed, user.password_changed_at)
            self._trail.allowed(transaction, user.name, _ACTION, user.name, address=address)
            return self._sessions.open(transaction, user.id, address)
