"""The users: making them, and changing what they are.

A new password, a new role and being switched off each end every session of the user at once.
"""

from __future__ import annotations

from typing import Final

from uuid_utils.compat import uuid7

from core.access import names, passwords, throttle
from core.access.passwords import Passwords
from core.access.trail import Trail
from core.clock import Clock
from core.errors import AccessRefused
from core.model.role import Role
from core.persistence import sessions, setup_tokens, sign_in_failures, users
from core.persistence.audit import Transaction
from core.persistence.database import Database
from core.persistence.users import User

_LAST_ADMIN: Final = "This is the last administrator who can sign in. Make another one first."


class People:
    """Makes and changes users."""

    def __init__(self, database: Database, clock: Clock, passwords: Passwords, trail: Trail) -> None:
        self._database = database
        self._clock = clock
        self._passwords = passwords
        self._trail = trail

    def every(self) -> list[User]:
        """All users by name."""
        with self._database.reading() as transaction:
            return users.every(transaction)

    def create(self, name: str, password: str, role: Role, *, by: str) -> User:
        """A new user. Raises `AccessRefused` when the name is taken or unfit, or the password is weak."""
        user = self.draft(name, password, role)
        with self._database.writing() as transaction:
            is_added = self.add(transaction, user, by=by)
        if not is_added:
            raise AccessRefused(f"The name {user.name} is taken. Choose another.")
        return user

    def draft(self, name: str, password: str, role: Role) -> User:
        """A user that is not stored yet. Raises `AccessRefused` when name or password are unfit."""
        normal = names.normal(name)
        if normal is None:
            raise AccessRefused("A name has 1 to 64 letters, digits or . @ + - _ and no spaces.")
        _refuse_unfit(password)
        now = self._clock.now()
        return User(uuid7(), normal, self._passwords.hash(password), role, True, now, now)

    def add(self, transaction: Transaction, user: User, *, by: str) -> bool:
        """Store a drafted user. False, on the record too, when the name is taken."""
        is_added = users.add(transaction, user)
        note = self._trail.allowed if is_added else self._trail.refused
        note(transaction, by, "create user", user.name, role=user.role.value)
        return is_added

    def set_password(self, name: str, password: str, *, by: str) -> None:
        """Replace a user's password, and forget the tries that failed on the old one.

        Raises `AccessRefused` when there is no such user or the password is weak.
        """
        _refuse_unfit(password)
        hashed = self._passwords.hash(password)
        with self._database.writing() as transaction:
            user = _existing(transaction, name)
            users.set_password(transaction, user.id, hashed, self._clock.now())
            sessions.remove_of_user(transaction, user.id)
            sign_in_failures.forget(transaction, throttle.account(user.name))
            self._trail.allowed(transaction, by, "set password", user.name)

    def set_role(self, name: str, role: Role, *, by: str) -> None:
        """Replace a user's role. Raises `AccessRefused` for an unknown user and for the last administrator."""
        with self._database.writing() as transaction:
            setup_tokens.take_turns(transaction)
            user = _existing(transaction, name)
            change = {"before": user.role.value, "after": role.value}
            is_allowed = role is Role.ADMIN or not _is_last_admin(transaction, user)
            if is_allowed:
                users.set_role(transaction, user.id, role)
                sessions.remove_of_user(transaction, user.id)
            note = self._trail.allowed if is_allowed else self._trail.refused
            note(transaction, by, "set role", user.name, **change)
        if not is_allowed:
            raise AccessRefused(_LAST_ADMIN)

    def set_active(self, name: str, *, is_active: bool, by: str) -> None:
        """Let a user in again, or no longer. Raises `AccessRefused` as `set_role` does."""
        with self._database.writing() as transaction:
            setup_tokens.take_turns(transaction)
            user = _existing(transaction, name)
            is_allowed = is_active or not _is_last_admin(transaction, user)
            if is_allowed:
                users.set_active(transaction, user.id, is_active=is_active)
                sessions.remove_of_user(transaction, user.id)
            note = self._trail.allowed if is_allowed else self._trail.refused
            note(transaction, by, "switch user on" if is_active else "switch user off", user.name)
        if not is_allowed:
            raise AccessRefused(_LAST_ADMIN)


def _refuse_unfit(password: str) -> None:
    fault = passwords.fault_of(password)
    if fault is not None:
        raise AccessRefused(
            f"The password is not fit ({fault.value}): it needs {passwords.SHORTEST} to {passwords.LONGEST} "
            "characters and must not be a common one."
        )


def _existing(transaction: Transaction, name: str) -> User:
    normal = names.normal(name)
    user = None if normal is None else users.by_name(transaction, normal)
    if user is None:
        raise AccessRefused("There is no such user.")
    return user


def _is_last_admin(transaction: Transaction, user: User) -> bool:
    return user.role is Role.ADMIN and user.is_active and users.other_admins(transaction, user.name) == 0
