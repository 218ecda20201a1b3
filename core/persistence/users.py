"""The people who may sign in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, Row, func, select, update

from core.model.role import Role
from core.persistence.tables import users
from core.persistence.upsert import insert_new


@dataclass(frozen=True, slots=True)
class User:
    """One person. `name` is unique and stored in lower case."""

    id: UUID
    name: str
    password_hash: str = field(repr=False)
    role: Role
    is_active: bool
    created_at: datetime
    password_changed_at: datetime


def add(connection: Connection, user: User) -> bool:
    """Store a new user. False when the name is taken."""
    row = {
        "id": user.id,
        "name": user.name,
        "password_hash": user.password_hash,
        "role": user.role.value,
        "is_active": user.is_active,
        "preferences": {},
        "created_at": user.created_at,
        "password_changed_at": user.password_changed_at,
    }
    return insert_new(connection, users, row)


def by_name(connection: Connection, name: str) -> User | None:
    """The user of that name, exactly as stored."""
    row = connection.execute(select(users).where(users.c.name == name)).first()
    return None if row is None else _user(row)


def every(connection: Connection) -> list[User]:
    """All users by name."""
    return [_user(row) for row in connection.execute(select(users).order_by(users.c.name))]


def exist(connection: Connection) -> bool:
    """Whether there is any user at all, active or not."""
    return connection.execute(select(users.c.id).limit(1)).first() is not None


def other_admins(connection: Connection, name: str) -> int:
    """How many active administrators there are beside `name`."""
    is_other_admin = (users.c.role == Role.ADMIN.value) & users.c.is_active & (users.c.name != name)
    return connection.execute(select(func.count()).select_from(users).where(is_other_admin)).scalar_one()


def set_password(connection: Connection, user_id: UUID, password_hash: str, at: datetime) -> None:
    """Replace the password's hash."""
    connection.execute(
        update(users).where(users.c.id == user_id).values(password_hash=password_hash, password_changed_at=at)
    )


def set_role(connection: Connection, user_id: UUID, role: Role) -> None:
    """Replace the role."""
    connection.execute(update(users).where(users.c.id == user_id).values(role=role.value))


def set_active(connection: Connection, user_id: UUID, *, is_active: bool) -> None:
    """Let a user sign in again, or no longer."""
    connection.execute(update(users).where(users.c.id == user_id).values(is_active=is_active))


def _user(row: Row[tuple[object, ...]]) -> User:
    return User(
        id=row.id,
        name=row.name,
        password_hash=row.password_hash,
        role=Role(row.role),
        is_active=row.is_active,
        created_at=row.created_at,
        password_changed_at=row.password_changed_at,
    )
