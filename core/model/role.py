"""What a person or an API token may do."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """Each role may do everything that the ones before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def allows(self, needed: Role) -> bool:
        """Whether this role may do what `needed` is required for."""
        return _ORDER[self] >= _ORDER[needed]


_ORDER = {Role.VIEWER: 0, Role.OPERATOR: 1, Role.ADMIN: 2}
